"""JSON values that come out of user code: checked once, at the door (P4)."""

from __future__ import annotations

from typing import Any

from po_jupyter.model.values.plain_json import PlainJson

_HINT = "A stage returns what JSON knows: dict, list, str, int, float, bool, None."


class NotJson(ValueError):
    """A value that is not JSON. `path` is the place in the value, `problem` describes the part that stands there."""

    def __init__(self, path: str, problem: str, hint: str = "") -> None:
        """See the class; `hint` says what to return instead."""
        super().__init__(f"{path or 'the value'}: {problem}")
        self.path = path
        self.problem = problem
        self.hint = hint


def as_json(value: Any) -> Any:
    """`value` as plain JSON (`model.values.plain_json`), the very same object when it already is.

    What the next task sees now is what it would see after a crash. Raises NotJson.
    """
    conversion = PlainJson()
    plain = conversion.value(value)
    if conversion.refused:
        where, message, hint, foreign = conversion.refused[0]
        raise NotJson(where, f"a {foreign}" if foreign else message, hint or _HINT)
    return plain


def copy_json(value: Any) -> Any:
    """A copy of a JSON value that shares no list and no dict with it."""
    if type(value) is dict:
        return {key: copy_json(item) for key, item in value.items()}
    if type(value) is list:
        return [copy_json(item) for item in value]
    return value
