"""P4: what user code returns is plain JSON, or an error that names the place."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from po_jupyter.engine.base.json_values import NotJson, as_json, copy_json


class Colour(enum.StrEnum):
    RED = "red"


def test_json_is_the_very_same_object() -> None:
    value = {"a": [1, 2.5, None, {"b": "x"}]}
    assert as_json(value) is value


def test_subclasses_and_tuples_become_plain() -> None:
    assert as_json({"a": (1, Colour.RED)}) == {"a": [1, "red"]}
    assert type(as_json(Colour.RED)) is str


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"a": [1, {2, 3}]}, "a[1]", "a set"),
        ({"a": {(1, 2): "x"}}, "a", "the key (1, 2) is tuple"),
        ([float("inf")], "[0]", "inf"),
        (b"x", "", "a bytes"),
    ],
)
def test_what_is_not_json_names_its_place(value: Any, path: str, problem: str) -> None:
    with pytest.raises(NotJson) as caught:
        as_json(value)
    assert caught.value.path == path
    assert problem in caught.value.problem
    assert caught.value.hint


def test_a_value_that_contains_itself_is_too_deep() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotJson, match="nested deeper"):
        as_json(value)


def test_a_copy_shares_nothing() -> None:
    value: dict[str, Any] = {"a": [{"b": 1}]}
    copy = copy_json(value)
    copy["a"][0]["b"] = 2
    assert value == {"a": [{"b": 1}]}
