"""The field `output`: a JSON Schema, or a class that stands for its schema and takes its validators along."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.output_field import with_output_type
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, Task

LIMIT = 3


class Label(BaseModel):
    label: str


class Short(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _is_short(cls, text: str) -> str:
        assert len(text) <= LIMIT, "too long"
        return text


@dataclasses.dataclass
class Point:
    x: int


class Row(TypedDict):
    name: str


def test_an_output_may_be_a_pydantic_model() -> None:
    """G17: pipelines in plain Python."""
    pipeline = Pipeline(name="tickets", tasks=(Task(name="label", prompt="x", output=Label),))
    assert pipeline.tasks[0].output == Label.model_json_schema()
    assert Pipeline.model_validate(pipeline.to_json()) == pipeline


@pytest.mark.parametrize("kind", [Label, Point, Row, list[Point]])
def test_any_type_stands_for_its_schema(kind: Any) -> None:
    """G17."""
    assert Task(name="t", prompt="x", output=kind).output == answer_schema_of(kind).schema


def test_a_task_carries_the_validators_of_its_class() -> None:
    task = Task(name="t", prompt="x", output=Short)
    assert task.carries_code
    assert task.output == answer_schema_of(Short).schema
    assert Task.model_validate(task.model_dump(mode="json")) == task
    assert Task(name="t", prompt="x", output=Label).output_type is None


def test_a_task_that_says_its_own_type_or_is_python_is_left_as_it_is() -> None:
    """What a run recorded is not made again: its class may be another one today."""
    for fields in (
        {"prompt": "x", "output": Short, "output_type": "Answer = int"},
        {"source": "x = 1", "output": Short},
        {"prompt": "x", "output": {"type": "object"}},
        {"prompt": "x"},
        "the name of a task",
    ):
        assert with_output_type(fields) is fields
    assert with_output_type({"prompt": "x", "output": Short}).keys() == {"prompt", "output", "output_type"}


def test_validators_that_cannot_go_along_are_told_with_what_to_do() -> None:
    """P11: silently left out, they would be missed when the answers are there."""
    connection = object()

    class Uses(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def _check(cls, x: int) -> int:
            assert connection
            return x

    with pytest.raises(ValidationError, match=r"the validators of Uses cannot go along.*give the JSON Schema"):
        Task(name="t", prompt="x", output=Uses)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"type": "objct"}, "not a JSON Schema at type"),
        ({"properties": {"a": {"enum": 3}}}, "not a JSON Schema at properties/a/enum"),
        ({"type": 5, "x": "y" * 1000}, "not a JSON Schema at type"),
    ],
)
def test_a_schema_that_is_none_is_told_with_its_place(output: Any, message: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        validate_pipeline({"name": "p", "tasks": [{"name": "t", "prompt": "x", "output": output}]})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"output_type": "Answer = int"}, "without a `prompt` and an `output`"),
        ({"output_type": "Answer = ", "output": {}}, "does not parse"),
    ],
)
def test_a_wrong_source_is_said(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        validate_pipeline({"name": "p", "tasks": [{"name": "t", "prompt": "x", **fields}]})
    assert said in str(caught.value)
