"""The schema of an answer, from a JSON Schema or from a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from pydantic import BaseModel

from po_jupyter.errors import InvalidInput, OutputInvalid
from po_jupyter.model.pipeline.answer_schema import answer_schema_of


class Label(BaseModel):
    label: Literal["bug", "praise"]


@dataclass
class Point:
    x: int


class Options(TypedDict):
    name: str
    size: NotRequired[int]


def test_a_json_schema_stands_for_itself() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    answer = answer_schema_of(schema)
    assert answer.schema == schema
    assert answer.typed({"a": "anything"}) == {"a": "anything"}


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        (Label, {"label": "bug"}, Label(label="bug")),
        (Point, {"x": 3}, Point(3)),
        (Options, {"name": "n"}, {"name": "n"}),
        (list[Label], [{"label": "bug"}], [Label(label="bug")]),
        (Literal["a", "b"], "a", "a"),
    ],
)
def test_a_class_makes_instances(source: Any, value: Any, expected: Any) -> None:
    assert answer_schema_of(source).typed(value) == expected


def test_a_field_of_a_typed_dict_that_may_be_missing_is_not_required() -> None:
    assert answer_schema_of(Options).schema["required"] == ["name"]


def test_what_does_not_fit_is_invalid_with_every_violation() -> None:
    with pytest.raises(OutputInvalid) as caught:
        answer_schema_of(list[Label]).typed([{"label": "x"}, {}])
    assert len(caught.value.violations) == 2


@pytest.mark.parametrize("source", [None, "text", 3, {"type": "nothing"}, {"a": {1}}, [1]])
def test_what_is_neither_is_refused(source: Any) -> None:
    """P11."""
    with pytest.raises(InvalidInput):
        answer_schema_of(source)
