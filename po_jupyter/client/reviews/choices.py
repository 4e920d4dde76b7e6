"""Choices: the values that a task's schema lets an answer have, so that a person says with one key what is right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

MOST = 9  # keys 1 to 9


class Choices(NamedTuple):
    """The values to choose from, at most nine. They are those of `field` of an answer that is an object; None: of the
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


def choices_of(schema: Mapping[str, Any] | None) -> Choices | None:
    """The choices of a schema: an enum or a boolean, or the first field that is one. None without one, and where there
    are more than nine."""
    if schema is None:
        return None
    if (values := _values(schema)) is not None:
        return Choices(None, values)
    properties = schema.get("properties")
    for name, field in properties.items() if isinstance(properties, Mapping) else ():
        if isinstance(field, Mapping) and (values := _values(field)) is not None:
            return Choices(str(name), values)
    return None


def _values(schema: Mapping[str, Any]) -> tuple[Any, ...] | None:
    values = schema.get("enum")
    if values is None and schema.get("type") == "boolean":
        values = [True, False]
    if isinstance(values, list) and 1 < len(values) <= MOST:
        return tuple(values)
    return None


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
