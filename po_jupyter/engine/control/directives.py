"""Directives of a task to its run (B11): their shapes, and strict reading of them. Pure.

    {"patch": {"add": [task, ...], "insertAfter": "name"},    a task is as in a pipeline's definition
     "skip":  [{"task": "name", "reason": "why"}],
     "pause": {"message": "for whoever decides", "artifacts": ["outline.json"]}}

is `control.json` in the task's directory; `ctx.control.add/skip/pause` send the same piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from po_jupyter.engine.files.task_io import checked_name
from po_jupyter.errors import ControlInvalid, PoError, Violation
from po_jupyter.model.pipeline.parsing import known_fields
from po_jupyter.model.pipeline.pipeline import Task, TaskName
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of
from po_jupyter.model.values.json import JsonObject

# A task that adds a task that adds a task would go on for ever, and spend for ever. The first system's number.
MAX_ADDED = 64
MAX_FILE = 1_000_000  # bytes of a control.json: 64 tasks with their source fit ten times


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_definition(value: Any) -> Any:
    if isinstance(value, Task):
        return value.model_dump(mode="json", exclude_defaults=True)
    if not isinstance(value, str | dict):
        raise ValueError("a task is a name, or an object as in a pipeline")
    return {"name": value} if isinstance(value, str) else value


def _file_name(value: Any) -> Any:
    if isinstance(value, str):
        try:
            checked_name(value)
        except PoError as error:
            raise ValueError(error.message) from None
    return value


class Patch(_Value):
    """Tasks to add behind `after`: the emitting task itself (None) or a later one that has not started."""

    add: Annotated[
        list[Annotated[JsonObject, BeforeValidator(_as_definition)]],
        Field(min_length=1, max_length=MAX_ADDED),
    ]
    after: TaskName | None = Field(default=None, alias="insertAfter")


class Skip(_Value):
    """A later task to skip, and the reason."""

    task: TaskName
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class Pause(_Value):
    """A gate after this task; `artifacts` are named to whoever decides."""

    message: Annotated[str, Field(min_length=1, max_length=5000)]
    artifacts: Annotated[
        list[Annotated[str, BeforeValidator(_file_name)]], Field(default_factory=list, max_length=100)
    ]


class Directives(_Value):
    """The directives of one file, or of one call."""

    patch: Patch | None = None
    skip: Annotated[list[Skip], Field(max_length=1000)] = []
    pause: Pause | None = None


_FIELDS: dict[str, tuple[type[BaseModel], str]] = {
    "patch": (Patch, "`patch`"),
    "skip": (Skip, "a skip"),
    "pause": (Pause, "`pause`"),
}


def read_directives(data: Any, *, source: str = "control.json") -> Directives:
    """The directives in a JSON value. Raises ControlInvalid with every violation."""
    if not isinstance(data, dict):
        raise invalid_directives(
            source, [Violation("", f"it is an object with `patch`, `skip` or `pause`, not {_kind(data)}")]
        )
    try:
        return Directives.model_validate(data)
    except ValidationError as error:
        raise invalid_directives(source, violations_of(error, known=_fields_at, what="it")) from None


def parse_directives(text: bytes, *, source: str = "control.json") -> Directives:
    """The directives in the bytes of a file. Raises ControlInvalid with every violation."""
    if len(text) > MAX_FILE:
        raise invalid_directives(source, [Violation("", f"it has {len(text):,} bytes; {MAX_FILE:,} are read")])
    try:
        return read_directives(
            json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant),
            source=source,
        )
    except UnicodeDecodeError as error:
        raise invalid_directives(
            source, [Violation("", f"it is not UTF-8 text (byte {error.start + 1})")]
        ) from None
    except json.JSONDecodeError as error:
        raise invalid_directives(
            source, [Violation("", f"not JSON: {error.msg}", error.lineno, error.colno)]
        ) from None
    except (ValueError, RecursionError) as error:
        raise invalid_directives(source, [Violation("", f"not JSON: {str(error)[:200]}")]) from None


def read_task(definition: JsonObject, path: str) -> tuple[Task | None, list[Violation]]:
    """One added task, or the violations of its definition."""
    try:
        return Task.model_validate(definition), []
    except ValidationError as error:

        def fields_at(loc: tuple[int | str, ...]) -> tuple[list[str], str]:
            return known_fields(("tasks", 0, *loc))

        violations = violations_of(error, known=fields_at, what="a task")
        return None, [v._replace(where=f"{path}.{v.where}" if v.where else path) for v in violations]


def invalid_directives(source: str, violations: Iterable[Violation]) -> ControlInvalid:
    """The error that lists all violations of the directives from `source`."""
    listed = list(violations)
    if source.startswith("ctx."):
        listed = [v._replace(where=_argument_of(v.where)) for v in listed]
    lines = [str(v) for v in listed[:20]]
    head = f"{source}: " if len(lines) == 1 else f"{source} directs the run in a way that cannot be:\n"
    return ControlInvalid(
        head + "\n".join(lines),
        hint="Nothing of it was applied. Correct the task and resume the run.",
        details={"source": source, "violations": [v._asdict() for v in listed]},
    )


def _argument_of(path: str) -> str:
    """The argument of `ctx.control` for a path in a control file."""
    path = path.replace("patch.insertAfter", "after").replace("patch.add", "tasks")
    return path.removeprefix("skip[0].").removeprefix("pause.").removeprefix("patch.")


def _fields_at(loc: tuple[int | str, ...]) -> tuple[list[str], str]:
    part = _FIELDS.get(str(loc[0])) if loc else None
    model, owner = part or (Directives, "a control file")
    return [field.alias or name for name, field in model.model_fields.items()], owner


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    result: JsonObject = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"`{key}` stands there twice")
        result[key] = value
    return result


def _no_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not a number that JSON knows")


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


__all__ = [
    "MAX_ADDED", "MAX_FILE", "Directives", "Patch", "Pause", "Skip", "did_you_mean", "invalid_directives",
    "parse_directives", "read_directives", "read_task",
]  # fmt: skip
