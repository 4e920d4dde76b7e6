"""JSON objects that somebody wrote."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from po_jupyter.model.values.checked_json import CheckedJsonObject

ADAPTER: TypeAdapter[dict[str, Any]] = TypeAdapter(CheckedJsonObject)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_json_is_taken_as_it_is() -> None:
    value = {"a": [1, 1.5, "x", None, True, {"b": {}}]}
    assert ADAPTER.validate_python(value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, math.nan]}, r"`a\[1\]` is nan"),
        ({"a": {(1, 2): 3}}, r"the key \(1, 2\) in `a` is not text"),
        ({"a": {"b": {3}}}, "`a.b` is a set"),
        ({"a": "\ud800"}, "`a` holds half a surrogate pair"),
        (nested(100_000), "nested deeper than 200 levels"),
    ],
    ids=["nan", "key", "set", "surrogate", "deep"],
)
def test_what_json_does_not_know_is_named_with_its_place(value: Any, message: str) -> None:
    """P4, P11."""
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(value)
