"""The pages of `po_jupyter/docs/reference/`, made from the code that they describe.

`python -m tests.docs.generate` writes them; `test_reference.py` fails when one is not what this module makes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_overloads, get_type_hints

import click
from pydantic import BaseModel, SecretStr

import po_jupyter
from po_jupyter import errors
from po_jupyter.cli.main import VERBS, po
from po_jupyter.config import OTHER_VARIABLES, PREFIX, Settings
from po_jupyter.model.pipeline import llm_settings, task_parts
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.task import Task
from po_jupyter.model.run import cascade_events, event_data, events, move_events
from po_jupyter.server.auth import SCOPES
from po_jupyter.server.routes import TABLE
from po_jupyter.server.routing.table import PREFIX as HTTP_PREFIX
from po_jupyter.server.routing.table import AnyRoute
from tests.docs.parts import PARTS
from tests.docs.schema_text import (
    as_sentence,
    declared_default,
    default_text,
    first_paragraph,
    markdown_table,
    model_fields_of,
    type_text,
)
from tests.support.paths import ROOT

REFERENCE = ROOT / "po_jupyter" / "docs" / "reference"
COMMAND = "python -m tests.docs.generate"
_NOTE = f"<!-- Made from the code: do not edit. `{COMMAND}` writes this page again. -->\n"
_CLI_WIDTH = 96


# -- the pages ------------------------------------------------------------------------------------------
_YAML_MODELS: dict[str, type[BaseModel]] = {
    "Pipeline": Pipeline,
    "Task": Task,
    "LLM": llm_settings.LLM,
    "CallRetry": llm_settings.CallRetry,
    "TaskRetry": task_parts.TaskRetry,
    "Budget": task_parts.Budget,
    "Refine": task_parts.Refine,
    "Gate": task_parts.Gate,
    "Turn": task_parts.Turn,
}
_YAML_TITLES = {
    "Pipeline": "Pipeline",
    "Task": "Task",
    "LLM": "llm",
    "CallRetry": "llm.retry",
    "TaskRetry": "retry",
    "Budget": "budget",
    "Refine": "refine",
    "Gate": "gate",
    "Turn": "prompt as a list",
}


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")


def _yaml_link(name: str) -> str:
    title = _YAML_TITLES.get(name)
    return "mapping" if title is None else f"[{title}](#{_anchor(title)})"


def yaml_page() -> str:
    """Every field of a pipeline."""
    parts = [
        "# The YAML of a pipeline",
        "Every field of a pipeline's definition, with its type and default. JSON has the same fields. What is not "
        "written here is an error that names the line.",
    ]
    for name, model in _YAML_MODELS.items():
        parts += [f"## {_YAML_TITLES[name]}", inspect.cleandoc(model.__doc__ or "")]
        rows = [
            [f"`{field}`", *rest] for field, *rest in model_fields_of(model, _yaml_link) if field != "provider"
        ]
        parts.append(markdown_table(["field", "type", "default", "meaning"], rows))
    return "\n\n".join(parts)


def _signature(function: Any, name: str) -> str:
    signature = inspect.signature(function)
    pieces = _parameters([p for p in signature.parameters.values() if p.name != "self"])
    answer = signature.return_annotation
    result = "" if answer is inspect.Signature.empty else f" -> {answer}"
    one = f"{name}({', '.join(pieces)}){result}"
    if len(one) <= 100:
        return one
    return "\n".join([f"{name}(", *(f"    {piece}," for piece in pieces), f"){result}"])


def _parameters(parameters: Iterable[inspect.Parameter]) -> list[str]:
    pieces: list[str] = []
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not any(piece.startswith("*") for piece in pieces):
            pieces.append("*")
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind = "" if p.annotation is p.empty else f": {p.annotation}"
        default = "" if p.default is p.empty else f"{' = ' if kind else '='}{p.default!r}"
        pieces.append(f"{stars}{p.name}{kind}{default}")
    return pieces


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    for owner in reversed(cls.__mro__[:-1]):
        if not owner.__module__.startswith("po_jupyter"):
            continue
        for name, member in vars(owner).items():
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                yield name, member


def _member_text(name: str, member: Any) -> str:
    doc = inspect.cleandoc((member.fget if isinstance(member, property) else member).__doc__ or "")
    shown = name if isinstance(member, property) else _signature(member, name)
    return f"```text\n{shown}\n```\n\n{doc}"


def python_page() -> str:
    """The public names of `po_jupyter`."""
    from po_jupyter.engine.python.context import Context, Validators

    parts = [
        "# Python",
        "The public names of `import po_jupyter as po`, and what a stage of a Python task gets as `ctx`.",
        "## Functions",
        *(_member_text(f"po.{name}", getattr(po_jupyter, name)) for name in ("connect", "chat")),
    ]
    for name in ("Client", "Run"):
        cls = getattr(po_jupyter, name)
        parts += [f"## {name}", inspect.cleandoc(cls.__doc__ or "")]
        short = name.lower()
        parts += [_member_text(f"{short}.{member}", value) for member, value in _members(cls)]
    parts += ["## Values"]
    for name in po_jupyter.__all__:
        value = getattr(po_jupyter, name)
        if isinstance(value, type) and name not in ("Client", "Run"):
            parts += [f"### {name}", _literal(value.__doc__)]
    parts += ["## ctx", _literal(Context.__doc__)]
    from po_jupyter.engine.chat.task_llm import TaskLlm
    from po_jupyter.engine.control.control import Control
    from po_jupyter.engine.files.task_io import TaskIo

    for attribute, cls in (("llm", TaskLlm), ("io", TaskIo), ("control", Control), ("validators", Validators)):
        parts += [f"### ctx.{attribute}"]
        members = [(n, m) for n, m in _members(cls) if n not in ("close",)]
        parts += [_member_text(f"ctx.{attribute}.{name}", member) for name, member in members]
        parts += [f"#### {options.__name__}\n\n{_literal(options.__doc__)}" for options in _options_of(cls)]
    return "\n\n".join(parts)


def _options_of(cls: type) -> list[type]:
    """The TypedDicts of keyword arguments (`**options: Unpack[...]`) that a class's methods take."""
    taken = re.findall(
        r"Unpack\[(\w+)\]", " ".join(str(inspect.signature(m)) for _, m in _members(cls) if callable(m))
    )
    return [getattr(sys.modules[cls.__module__], name) for name in dict.fromkeys(taken)]


def _literal(doc: str | None) -> str:
    """A docstring; the aligned lists in it stay aligned."""
    paragraphs = inspect.cleandoc(doc or "").split("\n\n")
    aligned = [p for p in paragraphs if re.search(r"^\S.*\S {2,}\S", p, re.M)]
    return "\n\n".join(f"```text\n{p}\n```" if p in aligned else p for p in paragraphs)


def _help(command: click.Command, name: str, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=_CLI_WIDTH)
    return command.get_help(context)


def cli_page() -> str:
    """What `po VERB --help` says, of every verb."""
    root = click.Context(po, info_name="po", terminal_width=_CLI_WIDTH, **po.context_settings)
    parts = [
        "# The terminal",
        "Every verb of `po` with its options. `%po VERB` in a notebook and `jupyter po VERB` are the same.",
        markdown_table(["verb", "what it does"], [[f"[{n}](#po-{n})", text] for n, (_, text) in VERBS.items()]),
        "Exit codes: 0 done, 1 failed, 2 a mistake in the command or an input, 3 no orchestrator, 4 the run waits "
        "for a decision, 130 interrupted, 143 terminated (the run goes on).",
    ]
    for name in VERBS:
        command = po.get_command(root, name)
        assert command is not None
        parts += [f"## po {name}", f"```text\n{_help(command, name, root)}\n```"]
        if isinstance(command, click.Group):
            below = click.Context(command, info_name=name, parent=root, terminal_width=_CLI_WIDTH)
            for sub, subcommand in command.commands.items():
                parts += [f"### po {name} {sub}", f"```text\n{_help(subcommand, sub, below)}\n```"]
    return "\n\n".join(parts)


def _no_link(name: str) -> str:
    return f"`{name}`"


def _route_text(route: AnyRoute) -> str:
    parts = [f"## {route.method} {route.path}", as_sentence(first_paragraph(route.action.__doc__))]
    facts = [f"Name: `{route.name}`.", f"Scope: {' and '.join(f'`{scope}`' for scope in route.scopes)}."]
    if route.asks_code:
        facts.append("`code:run` too, when the request brings code or an interpreter.")
    body = "nothing" if route.success == 204 else f"`{route.media}`"
    facts.append(f"Success: {route.success}, {body}.")
    parts.append(" ".join(facts))
    for title, model in (("query", route.query), ("body", route.body)):
        rows = [[f"`{n}`", *rest] for n, *rest in model_fields_of(model, _no_link)] if model is not None else []
        if model is not None and (rows or title == "body"):
            doc = as_sentence(first_paragraph(model.__doc__))
            parts.append(f"The {title}: {doc[:1].lower() + doc[1:]}" if doc else f"The {title}:")
        if rows:
            parts.append(markdown_table([title, "type", "default", "meaning"], rows))
    if route.receive is not None:
        parts.append("The body: lines of JSON (`application/x-ndjson`), streamed to a file.")
    return "\n\n".join(parts)


def http_page() -> str:
    """Every route."""
    rows = [
        [
            f"`{r.method} {r.path}`",
            " ".join(f"`{s}`" for s in r.scopes),
            as_sentence(first_paragraph(r.action.__doc__)),
        ]
        for r in TABLE.routes
    ]
    scopes = [[f"`{scope}`", f"`{action}`", f"`{resource}`"] for scope, (action, resource) in SCOPES.items()]
    parts = [
        "# HTTP",
        f"Every route under `{{base_url}}{HTTP_PREFIX}/`, from the table that the server itself is made of. "
        f"`GET {HTTP_PREFIX}/openapi.json` is the same for programs.",
        "Send `Authorization: token ...` (`po token` prints it), or the login cookie together with its XSRF token. "
        'An error is `{"error": {"code", "message", "hint", "details"}}`; see [Errors](errors.md).',
        markdown_table(["route", "scope", "what it does"], rows),
        "A route's name is its action in the audit log, and its `operationId`. A scope is a question to Jupyter's "
        "authorizer:",
        markdown_table(["scope", "action", "resource"], scopes),
        *(_route_text(route) for route in TABLE.routes),
    ]
    return "\n\n".join(parts)


def settings_page() -> str:
    """Every setting."""
    schema = Settings.model_json_schema()
    rows = []
    for name, field in Settings.model_fields.items():
        secret = field.annotation in (SecretStr, SecretStr | None)
        kind = "text, secret" if secret else type_text(schema["properties"][name], _no_link)
        default = (
            "the user's own" if name in ("data_dir", "models_dir") else default_text(declared_default(field))
        )
        rows.append([f"`{PREFIX}{name.upper()}`", default, kind, as_sentence(field.description or "")])
    others = sorted(OTHER_VARIABLES - {"PO_TEST_STRICT", "PO_TESTING", "PO_CRASHPOINT"})
    parts = [
        "# Settings",
        "Every setting, with its default, its type and what it means. Durations are in seconds, sizes in bytes, "
        "unless a line says otherwise.",
        "A variable of the environment has the name in the table. In a file (`PO_CONFIG`, or `po.yaml`, `po.toml` or "
        "`po.json` in the data directory) a setting has the same name without `PO_`, in small letters; as a trait of "
        "the Jupyter extension too (`c.PoExtension.max_running = 4`). Traits win over the environment, the "
        "environment over the file, the file over the defaults. `po config` shows each value and where it came from; "
        "`po config schema` is this page as JSON Schema.",
        markdown_table(["variable", "default", "type", "meaning"], rows),
        f"Variables that are no settings: {', '.join(f'`{name}`' for name in others)}. "
        "See [Environment](../guide/environment.md).",
    ]
    return "\n\n".join(parts)


def _data_text(data: type | None) -> str:
    if data is None:
        return "`{}`"
    hints = get_type_hints(data, include_extras=True)
    names = [name + ("?" if get_origin(hint) is NotRequired else "") for name, hint in hints.items()]
    return f"`{{{', '.join(names)}}}`"


def _event_rows() -> Iterator[tuple[str, str, str, str]]:
    """`(type, of, data, meaning)` of each type, from the overloads of `draft` and the TypedDicts that they name."""
    for variant in get_overloads(events.draft):
        notes = inspect.get_annotations(variant)
        name = re.fullmatch(r"Unpack\[(\w+)\]", notes.get("data", ""))
        # What a commit carries (`TaskDoneDraft`) is not what readers see.
        named = {**vars(event_data), **vars(cascade_events), **vars(move_events)}
        data = named[name[1].replace("Draft", "Data")] if name else None
        item = inspect.signature(variant).parameters.get("item")
        of = "task" if "task" in notes else "run"
        if item is not None:
            of = "item" if item.default is inspect.Parameter.empty else "task or item"
        meaning = " ".join(inspect.cleandoc(data.__doc__ or "").split()) if data is not None else ""
        for kind in re.findall(r"[a-z]+\.[a-z_]+", notes["type"]):
            yield kind, of, _data_text(data), meaning


def events_page() -> str:
    """Every type of event."""
    rows = [[f"`{kind}`", of, data, meaning] for kind, of, data, meaning in _event_rows()]
    parts = [
        "# Events",
        "Every type of event in the history of a run. An event is `{offset, at, type, run, task?, item?, data}`; "
        "offsets start at 1 and have no gaps, and `since` in a request is exclusive. The state of a run is what its "
        "events add up to.",
        "`po logs RUN`, `run.events()` and `GET runs/{id}/events` show them. Times are in seconds, `usage` is that of "
        "[Python](python.md), `error` is `{code, message, hint, details}` as in [Errors](errors.md). A field with `?` "
        "is not in every event of its type.",
        markdown_table(["type", "of a", "data", "meaning"], rows),
        "Pieces of text, `text {task, item?, text, round}`, are sent while somebody watches, have no offset and are "
        "not kept.",
    ]
    return "\n\n".join(parts)


def _error_classes(cls: type[errors.PoError]) -> Iterator[type[errors.PoError]]:
    yield cls
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield from _error_classes(sub)


def errors_page() -> str:
    """Every error."""
    doc = inspect.cleandoc(errors.__doc__ or "")
    tree = "\n".join(
        line.removeprefix("    ") for line in doc.splitlines() if re.match(r" +(PoError|├|│|└| )", line)
    )
    rows = [
        [f"`{cls.code}`", f"`{cls.__name__}`", str(cls.status), as_sentence(first_paragraph(cls.__doc__))]
        for cls in _error_classes(errors.PoError)
    ]
    parts = [
        "# Errors",
        "Every error of po_jupyter: its code, its class in `po_jupyter.errors`, and its HTTP status.",
        "The code is stable: HTTP, events and `--json` show it. `message` says what is wrong, `hint` what to do next, "
        "and `details` what programs want to know. One input with several mistakes is one error that names them all.",
        f"```text\n{tree}\n```",
        markdown_table(["code", "class", "HTTP", "meaning"], rows),
    ]
    return "\n\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "yaml": yaml_page,
    "python": python_page,
    "cli": cli_page,
    "http": http_page,
    "settings": settings_page,
    "events": events_page,
    "errors": errors_page,
}


def generated(name: str) -> str:
    """The text of one page of the reference."""
    title, _, rest = PAGES[name]().partition("\n\n")
    return f"{title}\n\n{_NOTE}\n{rest.strip()}\n"


def path_of(name: str) -> Path:
    """Where the page stands."""
    return REFERENCE / f"{name}.md"


if __name__ == "__main__":
    for page in PAGES:
        path_of(page).write_text(generated(page), "utf-8")
        print(path_of(page).relative_to(ROOT))
    for path, make in PARTS.items():
        path.write_text(make(), "utf-8")
        print(path.relative_to(ROOT))
