"""JSON values that come out of user code: checked once, at the door (P4)."""

from __future__ import annotations

import math
from typing import Any

from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.lazy_list import LazyList

_PLAIN = frozenset({str, int, bool, type(None)})
_MAX_DEPTH = 100  # deeper than any answer of a model; keeps the walk clear of Python's recursion limit


class NotJson(ValueError):
    """A value that is not JSON. `path` is the place in the value, `problem` describes the part that stands there."""

    def __init__(self, path: str, problem: str, hint: str = "") -> None:
        """See the class; `hint` says what to return instead."""
        super().__init__(f"{path or 'the value'} is {problem}")
        self.path = path
        self.problem = problem
        self.hint = hint


def as_json(value: Any) -> Any:
    """`value` as plain JSON, the very same object when it already is.

    Tuples become lists and subclasses (enum members, numpy's float64) their plain type, so that what the
    next task sees now is what it would see after a crash. Raises NotJson.
    """
    return _walk(value, "", 0)


def copy_json(value: Any) -> Any:
    """A copy of a JSON value that shares no list and no dict with it."""
    if type(value) is dict:
        return {key: copy_json(item) for key, item in value.items()}
    if type(value) is list:
        return [copy_json(item) for item in value]
    return value


def _walk(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise NotJson(path, f"{value}, a number that JSON does not know", "Return None instead.")
    if depth > _MAX_DEPTH:
        raise NotJson(path[:80], f"nested deeper than {_MAX_DEPTH} levels")
    if kind is list:
        return _walk_list(value, path, depth)
    if kind is dict:
        return _walk_dict(value, path, depth)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _walk(float(value), path, depth)
    if isinstance(value, list | tuple | LazyList):
        return _walk_list(list(value), path, depth)
    if isinstance(value, dict):
        return _walk_dict(dict(value), path, depth)
    raise NotJson(path, f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", ""), _hint(value))


def _walk_list(value: list[Any], path: str, depth: int) -> list[Any]:
    result = value
    for i, item in enumerate(value):
        if type(item) in _PLAIN:
            continue
        plain = _walk(item, f"{path}[{i}]", depth + 1)
        if plain is not item:
            if result is value:
                result = list(value)
            result[i] = plain
    return result


def _walk_dict(value: dict[Any, Any], path: str, depth: int) -> JsonObject:
    result = value
    for key, item in value.items():
        if type(key) is not str:
            raise NotJson(
                f"a key of {path or 'the value'}", f"{key!r:.60}, and keys are text in JSON", "Use str(key)."
            )
        if type(item) in _PLAIN:
            continue
        plain = _walk(item, f"{path}.{key}" if path else key, depth + 1)
        if plain is not item:
            if result is value:
                result = dict(value)
            result[key] = plain
    return result


def _hint(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return "Keep bytes with ctx.io.write_artifact and return their name."
    if isinstance(value, set | frozenset):
        return "Return sorted(value), a list."
    for method, hint in (
        ("to_dict", 'Return value.to_dict("records").'),
        ("model_dump", 'Return value.model_dump(mode="json").'),
        ("tolist", "Return value.tolist()."),
        ("isoformat", "Return value.isoformat()."),
    ):
        if hasattr(value, method):
            return hint
    return "A stage returns what JSON knows: dict, list, str, int, float, bool, None."
