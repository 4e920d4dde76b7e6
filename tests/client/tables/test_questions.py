"""The pipelines that questions to tables become."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from po_jupyter.client.tables.questions import (
    classify_question,
    extract_question,
    filter_question,
    map_question,
)
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.task import Task


class Ticket(BaseModel):
    label: str
    score: float


def only(pipeline: Pipeline) -> Task:
    (task,) = pipeline.tasks
    assert task.for_each == "{{ seed.rows }}"
    return task


def test_map_is_a_pipeline_of_one_map() -> None:
    options = {
        "model": "fake:echo",
        "max_concurrency": 16,
        "name": "mine",
        "max_tokens": 50,
        "system": "Be brief.",
    }
    pipeline = map_question("map", "Label: {{ item.text }}", Ticket, options)
    assert (pipeline.name, pipeline.llm.model, pipeline.llm.max_tokens) == ("mine", "fake:echo", 50)
    task = only(pipeline)
    assert (task.name, task.max_concurrency, task.system) == ("mine", 16, "Be brief.")
    assert task.output is not None and list(task.output["properties"]) == ["label", "score"]


def test_the_row_may_be_in_its_files_alone() -> None:
    """None, which stands for no option, was an error of Python, and of one text each character was looked at."""
    for files in ("{{ item }}", ["{{ item }}"]):
        assert only(map_question("map", "What is it?", None, {"files": files, "images": None})).files == (
            "{{ item }}",
        )


def test_filter_asks_for_yes_or_no() -> None:
    task = only(filter_question("Is {{ item }} about money?", None, None, {}))
    assert task.output is not None and task.output["properties"]["keep"]["type"] == "boolean"
    assert task.where == "{{ output.keep }}" and task.system and "yes" in task.system
    assert only(filter_question("{{ item }}", None, None, {"system": "Mine."})).system == "Mine."


def test_filter_goes_by_an_expression_of_the_row_or_of_its_answer() -> None:
    free = only(filter_question(None, "{{ item.n > 3 }}", None, {"name": "large"}))
    assert (free.name, free.prompt, free.where) == ("large", None, "{{ item.n > 3 }}")
    task = only(filter_question("{{ item }}", "{{ output.score > 0.5 }}", Ticket, {}))
    assert task.where == "{{ output.score > 0.5 }}" and task.output is not None
    assert list(task.output["properties"]) == ["label", "score"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ((None, None, None, {}), "a prompt, or an expression"),
        ((None, 7, None, {}), "`where` is an expression"),
        ((None, "{{ item }}", Ticket, {}), "`output` is for a model"),
        ((None, "{{ item }}", None, {"model": "fake:echo"}), "`model` is for a model"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(PoError, match=says):
        filter_question(*wrong)


def test_labels_are_no_template() -> None:
    """P6: braces in a label are text."""
    labels = ["{{ seed }}", "{% raw %}", 'a "quoted" one', "straße", "back\\slash"]
    task = only(classify_question(labels, None, False, {}))
    assert task.output is not None and task.output["properties"]["label"]["enum"] == labels
    from jinja2.sandbox import SandboxedEnvironment

    shown = SandboxedEnvironment().from_string(str(task.prompt)).render(item="the text", seed="SEED")
    assert ", ".join(labels) in shown and shown.endswith("the text")


def test_several_labels_are_a_list() -> None:
    task = only(classify_question(["a", "b"], "{{ item }}", True, {}))
    assert task.output is not None and task.output["properties"]["labels"]["items"]["enum"] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        (["company", "year"], {"company": ["string", "null"], "year": ["string", "null"]}),
        ("company", {"company": ["string", "null"]}),
        ({"company": str, "year": int}, {"company": "string", "year": "integer"}),
        ({"type": "object", "properties": {"year": {"type": "integer"}}}, {"year": "integer"}),
        (Ticket, {"label": "string", "score": "number"}),
    ],
)
def test_fields_by_name_by_type_by_class_and_by_schema(fields: Any, types: dict[str, Any]) -> None:
    task = only(extract_question(fields, None, {}))
    assert task.output is not None
    assert {name: shape["type"] for name, shape in task.output["properties"].items()} == types


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: map_question("map", "Label this", None, {}),
        lambda: map_question("map", "{{ items }} {{ itemized }}", None, {}),
        lambda: map_question("map", 7, None, {}),  # type: ignore[arg-type]
        lambda: map_question("map", [1], None, {}),  # type: ignore[list-item]
        lambda: classify_question("bug", None, False, {}),
        lambda: classify_question(["bug"], None, False, {}),
        lambda: classify_question(["bug", "bug"], None, False, {}),
        lambda: classify_question(["bug", ""], None, False, {}),
        lambda: classify_question(["bug", 7], None, False, {}),  # type: ignore[list-item]
        lambda: extract_question([], None, {}),
        lambda: extract_question({}, None, {}),
        lambda: extract_question(["a", 7], None, {}),
        lambda: extract_question(7, None, {}),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_asked(wrong: Any) -> None:
    with pytest.raises(InvalidInput):
        wrong()


def test_messages_with_the_row_in_one_of_them() -> None:
    turns = [{"role": "user", "content": "Hello"}, {"role": "user", "content": "{{ item.text }}"}]
    assert only(map_question("map", turns, None, {})).prompt


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"company": str, "year": "int"}, "the field `year`: 'int' is no type"),
        ({"company": "str"}, "the field `company`: 'str' is no type"),
        ({"company": 3}, "the field `company`: 3 is no type"),
        ({"company": {"type": "strng"}}, "the field `company`: not a JSON Schema"),
    ],
)
def test_a_wrong_field_is_the_one_that_is_named(fields: Any, says: str) -> None:
    """It blamed another one, or asked for anything at all."""
    with pytest.raises(InvalidInput, match=says):
        extract_question(fields, None, {})


def test_fields_may_be_types_and_schemas_side_by_side() -> None:
    asked = extract_question({"year": {"type": "integer"}, "names": list[str]}, None, {})
    schema = asked.tasks[0].output
    assert schema is not None and schema["required"] == ["year", "names"]
    assert schema["properties"]["year"] == {"type": "integer"}
    assert schema["properties"]["names"]["type"] == "array"


class Kind(str, Enum):  # noqa: UP042  # whose str() is "Kind.BUG"
    BUG = "bug"
    QUESTION = "question"


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["bug", "question"]),
        pd.Series(["bug", "question"]),
        pd.Index(["bug", "question"]),
        Kind,
        iter(Kind),
    ],
)
def test_labels_are_anything_that_has_an_order(labels: Any) -> None:
    """`df.label.unique()` is an array. A set has another order, and with it another question, in each kernel."""
    task = only(classify_question(labels, None, False, {}))
    assert task.output is not None and task.output["properties"]["label"]["enum"] == ["bug", "question"]
    with pytest.raises(InvalidInput, match="a list of texts"):
        classify_question(set(labels), None, False, {})


def test_no_fields_are_refused_before_anything_is_asked() -> None:
    for nothing in (None, [], {}):
        with pytest.raises(InvalidInput, match="no field is named"):
            extract_question(nothing, None, {})
