"""`llm` of a task: one model, or several in a row."""

from __future__ import annotations

import json

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.llm_settings import CascadeStep
from po_jupyter.model.pipeline.parsing import parse_pipeline

TASK = "llm: {temperature: 0.5}\ntasks:\n  - name: a\n    prompt: hi\n    llm:\n"


def test_each_model_of_a_cascade_has_settings_of_its_own_over_the_pipelines() -> None:
    text = "      - openai:small\n      - {model: openai:big, max_tokens: 9, when: '{{ output }}'}\n"
    pipeline = parse_pipeline(TASK + text, name="p")
    small, big = pipeline.llms_of(pipeline.tasks[0])
    assert pipeline.llm_of(pipeline.tasks[0]) == small
    assert (small.model, small.temperature, small.max_tokens) == ("openai:small", 0.5, None)
    assert isinstance(big, CascadeStep)
    assert (big.model, big.temperature, big.max_tokens, big.when) == ("openai:big", 0.5, 9, "{{ output }}")
    assert parse_pipeline(json.dumps(pipeline.to_json())) == pipeline


def test_one_model_is_as_it_was() -> None:
    pipeline = parse_pipeline("tasks:\n  - {name: a, prompt: hi, llm: openai:x}\n", name="p")
    assert pipeline.to_json()["tasks"] == [{"name": "a", "prompt": "hi", "llm": {"model": "openai:x"}}]
    assert len(pipeline.llms_of(pipeline.tasks[0])) == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("      - openai:a\n      - modl: openai:b\n", 7, "`modl` is not a field of a model of llm"),
        ("      - openai:a\n      - {model: openai:b, wen: x}\n", 7, "did you mean `when`?"),
        ("      - {model: openai:a, when: '1'}\n      - openai:b\n", 3, "the first model of `llm` is asked"),
        ("      - openai:a\n      - {when: '1'}\n", 3, "needs its `model`"),
        ("      - openai:a\n      - big\n", 7, "provider:model"),
    ],
)
def test_a_mistake_has_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(TASK + text, name="p")
    (violation,) = caught.value.violations
    assert message in violation.message
    assert violation.line == line
