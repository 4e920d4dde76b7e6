"""`po validate`, `schema`, `config` and `doctor`: checks of pipelines, settings and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel, SecretStr

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.urls import shown_url

if TYPE_CHECKING:
    from po_jupyter.config import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=str))
@click.option("--seed", type=base.TEXT, metavar="JSON|@FILE|-", help="Check this seed's data with it.")
@base.JSON
def validate(file: str, seed: str | None, as_json: bool) -> int:
    """Check a pipeline file without starting anything.

    Providers, modules and templates are checked by the orchestrator where one is running.
    """
    from po_jupyter.cli import inputs

    pipeline = inputs.pipeline_file(file)
    data = inputs.seed_data(seed) if seed is not None else None
    with inputs.located(file):
        inputs.need_code(pipeline)
    warnings: list[str] = []
    try:
        client = base.connect(start=False)
        with inputs.located(file):
            result = client.validate(pipeline, data)
        warnings = [str(w) for w in result.get("warnings", ())]
    except Unavailable:
        warnings = ["no orchestrator is running: templates, providers and modules were not checked (po start)"]
    if as_json:
        base.print_json(
            {"ok": True, "name": pipeline.name, "revision": pipeline.revision, "warnings": warnings}
        )
        return 0
    kinds = ", ".join(f"{t.name} ({t.kind}{', for each row' if t.for_each else ''})" for t in pipeline.tasks)
    base.print_line(f"{pipeline.name} {pipeline.version} is valid: {kinds}")
    for warning in warnings:
        base.print_line(f"  {base.plain(warning)}")
    return 0


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> int:
    """Show every setting and where it came from.

    Weight grows: defaults, then the file (PO_CONFIG, or po.yaml, po.toml, po.json in the data directory),
    then PO_* variables.
    """
    return _print_settings(as_json) if ctx.invoked_subcommand is None else 0


@config.command("show")
@base.JSON
def show(as_json: bool) -> int:
    """Show every setting and where it came from."""
    return _print_settings(as_json)


def _print_settings(as_json: bool) -> int:
    from po_jupyter.config import Settings, load

    settings = load()
    values = {name: _public_value(getattr(settings, name)) for name in Settings.model_fields}
    if as_json:
        base.print_json(
            {
                n: {"value": v, "source": settings.source_of(n), **_enforcement(settings, n)}
                for n, v in values.items()
            }
        )
    else:
        base.print_table(
            ["setting", "value", "from", "what it is"],
            [
                [name, _as_text(value), settings.source_of(name), Settings.model_fields[name].description or ""]
                for name, value in values.items()
            ],
        )
        if settings.hub_url is not None:
            base.print_line(_ON_A_HUB)
    return 0


def _enforcement(settings: Settings, name: str) -> dict[str, str]:
    """Who holds a user to a limit, on a hub."""
    if settings.hub_url is None or name not in _LIMITS:
        return {}
    return {"enforced_by": "nobody"}


_LIMITS = ("daily_usd", "daily_tokens", "rate_limits", "cli_agents", "max_running", "requests_per_minute")
_ON_A_HUB = (
    "Enforced by the hub's gateway: the team's models, budgets and limits (po models, po usage). Not enforced, as "
    f"everybody can set them for themselves: all settings here, {', '.join(_LIMITS)} among them."
)


def _public_value(value: Any) -> Any:
    """A setting's value as JSON; secrets are stars (P10)."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        return {name: _fields(part) if isinstance(part, BaseModel) else part for name, part in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _fields(value: BaseModel) -> JsonObject:
    """The fields of a setting that has some; a URL without what may be secret in it (P10)."""
    fields = {
        name: "********" if isinstance(field, SecretStr) else field for name, field in dict(value).items()
    }
    if isinstance(url := fields.get("url"), str):
        fields["url"] = shown_url(url)
    return fields


def _as_text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


@config.command("schema")
def settings_schema() -> int:
    """Print the JSON Schema of the settings file."""
    from po_jupyter.config import Settings

    base.print_json(Settings.model_json_schema())
    return 0


@click.command()
@base.JSON
def schema(as_json: bool) -> int:  # JSON in any case
    """Print the JSON Schema of a pipeline's YAML, for editors.

    `po schema > pipeline.schema.json`, and as the first line of a pipeline:
    `# yaml-language-server: $schema=pipeline.schema.json`.
    """
    from po_jupyter.model.editing.schema import pipeline_schema

    base.print_json(pipeline_schema())
    return 0


@click.command()
@click.option("--online", is_flag=True, help="Ask each provider that is set up for its list of models (5 s).")
@base.JSON
def doctor(online: bool, as_json: bool) -> int:
    """Look for what could keep runs from working.

    Exit code 1 when something has to be mended. What a run needs is looked at where the orchestrator runs; keys are
    masked.
    """
    from po_jupyter.cli.verbs.doctor import examine

    findings = examine(online=online)
    if as_json:
        base.print_json([f._asdict() for f in findings])
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            icon, state = {"ok": ("✓", "done"), "note": ("·", "pending"), "bad": ("✗", "failed")}[f.verdict]
            base.print_line(f" {base.coloured(icon, state)} {f.what:<{width}}  {base.plain(f.found)}")
            if f.todo:
                for line in f.todo.splitlines():
                    base.print_line(f"   {'':<{width}}  → {base.plain(line)}")
    return 1 if any(f.verdict == "bad" for f in findings) else 0
