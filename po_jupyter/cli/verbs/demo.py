"""`po demo`: the quickstart notebook's twin, over text that every machine has."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.errors import Unavailable
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.http.payloads import RowJson
    from po_jupyter.client.run import Run
    from po_jupyter.model.run.view import RunView

PIPELINE = Path(__file__).with_name("demo_pipeline.yaml")
# Packages that this one brings along, so that the same rows are found everywhere; the quickstart notebook has others.
WELL_KNOWN = ("pydantic", "httpx", "jinja2", "diskcache", "ipywidgets", "tornado", "rich", "click")
_DESCRIPTION = 1500  # characters of a description that go into the seed


@click.command()
@click.option("--model", metavar="REF", help="Another model, as provider:model; its key must be set.")
@click.option(
    "--rows", type=click.IntRange(1, 100), default=5, show_default=True, metavar="N", help="Packages to label."
)
@base.JSON
def demo(model: str | None, rows: int, as_json: bool) -> int:
    """Run a small pipeline over your installed packages with a local model.

    Three tasks: Python collects what the packages say about themselves, a model labels each, Python writes
    a table. The first time, the model's weights (93 MB) are fetched. Nothing leaves this machine unless
    --model says so.
    """
    from po_jupyter.cli import inputs, live

    pipeline = inputs.with_model(inputs.pipeline_file(str(PIPELINE)), model)
    chosen = pipeline.llm.model or ""
    if chosen.startswith("local:") and find_spec("xllamacpp") is None:
        raise Unavailable(
            "the local model needs xllamacpp, which is not installed",
            hint='pip install "po_jupyter[local]", or name another model: po demo --model openai:gpt-5-mini',
        )
    seed = {"rows": packages(rows)}
    started_at = time.monotonic()
    client = base.connect(start=True)
    meta = client.meta()
    if not as_json:
        base.print_line(f"{len(seed['rows'])} installed packages, labelled by {chosen}")
        base.print_line(f"orchestrator {client.url}, data in {base.plain(meta.get('data_dir'))}")
    # Fresh: a demo shows the work, not what an earlier one paid for.
    run = client.submit(pipeline, seed=seed, fresh=True)
    view, code = live.follow(run, quiet=as_json)
    if code == 130:
        return code
    items = run.items("label") if any(t.name == "label" and t.items for t in view.tasks) else []
    succeeded = sum(bool(item["ok"]) for item in items)
    if as_json:
        base.print_json(
            {"run": view.model_dump(mode="json"), "items": items, "seconds": time.monotonic() - started_at}
        )
    else:
        _print_summary(run, view, seed["rows"], items, time.monotonic() - started_at, chosen)
        table = next((a["path"] for a in run.artifacts() if a["name"] == "packages.md"), None)
        if table is not None and Path(table).is_file():  # the orchestrator may be on another machine
            base.print_line(f"the table that the last task wrote   {table}")
    if code == 0 and succeeded == 0:
        return 1
    return code


def packages(count: int) -> list[dict[str, str]]:
    """Installed packages with their own descriptions: `{name, version, summary, description}` each.

    The well-known ones first, then all others in the order of their names.
    """
    rows: list[dict[str, str]] = []
    seen: set[str] = set()
    for package in _distributions():
        if len(rows) == count:
            break
        name, summary = _field(package, "Name"), _field(package, "Summary")
        if name and summary and name.lower() not in seen:
            seen.add(name.lower())
            description = (_field(package, "Description") or summary)[:_DESCRIPTION]
            version = _field(package, "Version")
            rows.append({"name": name, "version": version, "summary": summary, "description": description})
    return rows


def _distributions() -> Iterator[metadata.Distribution]:
    for name in WELL_KNOWN:
        try:
            yield metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
    yield from sorted(metadata.distributions(), key=lambda d: _field(d, "Name").lower())


def _field(package: metadata.Distribution, name: str) -> str:
    try:
        fields = package.metadata
        return str(fields[name]) if name in fields else ""
    except Exception:  # the leftovers of a broken installation are nobody's demo
        return ""


def _print_summary(
    run: Run,
    view: RunView,
    rows: list[dict[str, str]],
    items: list[RowJson],
    seconds: float,
    model: str,
) -> None:
    base.print_line()
    if items:
        base.print_table(["package", "purpose", "topic"], [_table_row(rows, item) for item in items])
        base.print_line()
    facts = [f"{sum(bool(i['ok']) for i in items)} of {len(rows)} rows done", *fmt.usage_parts(view.usage)]
    base.print_line(f"{view.state} · {' · '.join(facts)} · {fmt.elapsed(seconds)}")
    if model.startswith("local:"):
        base.print_line(
            "A model of 135M parameters shows that it runs, not what good answers look like: --model openai:..."
        )
    base.print_line()
    base.print_line(f"look at it again   po show {run.short}        its history   po logs {run.short}")
    base.print_line("the same in a notebook: notebooks/01-quickstart.ipynb        all runs   po runs")
    base.print_line("the orchestrator goes on in the background: po status, po stop")


def _table_row(rows: list[dict[str, str]], item: RowJson) -> list[str]:
    name = rows[item["index"]]["name"]
    output = item.get("output")
    if item["ok"] and isinstance(output, Mapping):
        return [name, base.one_line(output.get("purpose", ""), 80), base.one_line(output.get("topic", ""), 20)]
    error = item.get("error") or {}
    return [name, base.one_line(f"failed: {error.get('message', 'no message')}", 80), ""]
