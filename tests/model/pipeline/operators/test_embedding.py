"""What goes together with `embed`."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.task_kind import asks_model


def parsed(**fields: Any) -> Pipeline:
    return validate_pipeline({"name": "p", "tasks": [{"name": "t", "embed": "{{ seed.text }}", **fields}]})


def test_a_task_with_embed_is_a_kind_of_its_own() -> None:
    task = parsed(for_each="{{ seed.rows }}", llm={"model": "openai:text-embedding-3-small"}).tasks[0]
    assert task.kind == "embed" and task.module is None and not task.carries_code
    again = validate_pipeline(parsed().to_json())
    assert again == parsed() and asks_model(again.to_json()["tasks"][0])


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "Hello"}, {"system": "Be short"}, {"output": {"type": "string"}}, {"votes": 3},
        {"images": ["a.png"]}, {"tools": ["s.t"]}, {"source": "def inference(ctx): pass"}, {"task": "module"},
        {"pipeline": "other"}, {"refine": {"max_attempts": 1}}, {"mode": "batch", "for_each": "{{ seed.rows }}"},
        {"score": {"expect": "a", "metrics": ["exact"]}}, {"llm": [{"model": "fake:a"}, {"model": "fake:b"}]},
        {"for_each": "{{ seed.rows }}", "where": "{{ item }}"}, {"llm": {"temperature": 0}},
        {"llm": {"model": "openai:text-embedding-3-small", "effort": "low"}}, {"llm": {"service_tier": "flex"}},
    ],
)  # fmt: skip
def test_a_vector_is_made_of_a_text_alone(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidPipeline, match="t'"):
        parsed(**fields)


def test_the_settings_of_a_pipeline_are_for_its_other_tasks() -> None:
    data = {"name": "p", "llm": {"temperature": 0}, "tasks": [{"name": "t", "embed": "{{ seed.text }}"}]}
    assert validate_pipeline(data).tasks[0].kind == "embed"


def test_rows_may_be_distinct_by_their_vectors() -> None:
    pipeline = parsed(for_each="{{ seed.rows }}", distinct={"similarity": 0.9})
    assert (pipeline.tasks[0].kind, pipeline.tasks[0].operator) == ("embed", "distinct")
    assert pipeline.to_json()["tasks"][0]["distinct"] == {"similarity": 0.9}
    assert validate_pipeline(pipeline.to_json()) == pipeline


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distinct": "{{ item.a }}"}, "distinct by their vectors"),
        ({"distinct": True}, "distinct by their vectors"),
        ({"distinct": {"similarity": 1.5}}, "similarity"),
        ({"distinct": {"similar": 0.5}}, "`similar` is not a field"),
        ({"distinct": {"similarity": 0.9}, "for_each": None}, "no `for_each`"),
        ({"distinct": {"similarity": 0.9}, "embed": None}, "with `embed` of which text"),
        ({"where": "{{ item }}"}, "only `distinct` does"),
    ],
)
def test_what_does_not_go_by_vectors_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPipeline, match=message):
        parsed(**{"for_each": "{{ seed.rows }}", **fields})
