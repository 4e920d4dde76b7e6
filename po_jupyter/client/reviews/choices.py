"""Choices: the values that a task's schema lets an answer have, so that a person says with one key what is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from po_jupyter.model.pipeline.evals.confidence import resolved_field

MOST = 9  # keys 1 to 9
_OF_TYPES: Mapping[str, tuple[Any, ...]] = {"boolean": (True, False), "null": (None,)}


class Choices(NamedTuple):
    """The values to choose from. They are those of `field` of an answer that is an object; None: of the
    whole answer."""

    field: str | None
    values: tuple[Any, ...]

    def value_in(self, output: Any) -> Any:
        """What an answer says of the matter."""
        if self.field is None:
            return output
        return output.get(self.field) if isinstance(output, Mapping) else None

    def answer(self, recorded: Any, value: Any) -> Any:
        """The recorded answer with another value."""
        if self.field is None:
            return value
        return {**(recorded if isinstance(recorded, Mapping) else {}), self.field: value}


def choices_of(schema: Mapping[str, Any] | None, most: int | None = MOST) -> Choices | None:
    """The choices of a schema: an enum or a boolean, or the first field that is one. None without one; fields with more
    than `most` values are passed over."""
    if schema is None:
        return None
    properties = schema.get("properties")
    fields: dict[str | None, Any] = {None: schema, **(properties if isinstance(properties, Mapping) else {})}
    for name, field in fields.items():
        values = _values(schema, field) or ()
        if len(values) > 1 and (most is None or len(values) <= most):
            return Choices(name, values)
    return None


def _values(schema: Mapping[str, Any], field: Any, depth: int = 4) -> tuple[Any, ...] | None:
    """The values that a field may have; None: nobody can list them. A class writes an Enum as a reference, and one that
    may be left open as one of several ways."""
    resolved = resolved_field(schema, field)
    if isinstance(values := resolved.get("enum"), list):
        return tuple(values)
    if "const" in resolved:
        return (resolved["const"],)
    ways = resolved.get("anyOf") or resolved.get("oneOf")
    if isinstance(ways, list) and depth:
        each = [_values(schema, way, depth - 1) for way in ways]
        known = [values for values in each if values is not None]
        return tuple(value for values in known for value in values) if len(known) == len(each) else None
    return _OF_TYPES.get(str(resolved.get("type")))


def shown(value: Any) -> str:
    """A value as people see it: a text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_answer(text: str, schema: Mapping[str, Any] | None) -> Any:
    """The answer that a person wrote: JSON; where the task answers in text, the text itself. Raises ValueError."""
    if schema is None:
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        if schema.get("type") == "string":
            return text
        raise ValueError(f"this is not JSON: {error}") from None


def written_answer(output: Any, schema: Mapping[str, Any] | None) -> str:
    """An answer as a person edits it; what `read_answer` reads."""
    if isinstance(output, str) and (schema is None or schema.get("type") == "string"):
        return output
    return "" if output is None else json.dumps(output, ensure_ascii=False, indent=2)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
