"""Which tasks may have a cascade that learns its threshold (P11)."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import validate_pipeline

SURE = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}, "confidence": {"type": "number"}}}
SMALL, BIG = {"model": "fake:small"}, {"model": "fake:big", "target": 0.95}
ROWS = "{{ seed.rows }}"


def pipeline(**more: Any) -> Any:
    task = {"name": "m", "prompt": "{{ item }}", "for_each": ROWS, "output": SURE, "llm": [SMALL, BIG], **more}
    return validate_pipeline({"name": "p", "tasks": [task]})


def test_the_sample_has_a_size_without_being_told() -> None:
    assert pipeline().tasks[0].llms[1].sampled == 200
    assert pipeline(llm=[SMALL, {**BIG, "sample": 400, "on": "label"}]).tasks[0].llms[1].sampled == 400
    assert pipeline(confidence="logprobs", output={"type": "object", "properties": {"a": {"type": "boolean"}}})
    assert pipeline(output=None, votes=3)


@pytest.mark.parametrize(
    "confidence",
    [{"type": ["number", "null"]}, {"anyOf": [{"type": "number"}, {"type": "null"}]}, {"type": "integer"}],
)
def test_a_confidence_may_be_null(confidence: dict[str, Any]) -> None:
    """As `float | None` of a class writes it; null is not sure."""
    assert pipeline(
        output={"type": "object", "properties": {"a": {"type": "string"}, "confidence": confidence}}
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"llm": [SMALL, {**BIG, "when": "{{ true }}"}]}, "`target` has one learned; write one of the two"),
        ({"llm": [SMALL, {"model": "fake:big", "sample": 50}]}, "those of a `target`, and there is none"),
        ({"llm": [SMALL, {**BIG, "sample": 19}]}, "sample"),
        ({"llm": [SMALL, {**BIG, "target": 1}]}, "target"),
        ({"llm": [SMALL, {**BIG, "sample": 30}]}, "shows an agreement of 0.884 at most"),
        ({"llm": [BIG, SMALL]}, "`target` belongs to the one after it"),
        ({"llm": [SMALL, BIG, SMALL]}, "compares two models"),
        ({"llm": [SMALL, {**BIG, "on": "lable"}]}, "did you mean `label`"),
        ({"for_each": None}, "it needs `for_each`"),
        ({"shards": 2}, "`target` and `shards` do not go together"),
        ({"where": "{{ output.label == 'a' }}"}, "`target` and `where` do not go together"),
        ({"variants": {"a": None, "b": {"prompt": "B"}}}, "`target` and `variants` do not go together"),
        ({"llm": SMALL, "variants": {"a": None, "b": {"llm": [SMALL, BIG]}}}, "`target` and `variants`"),
        ({"mode": "batch"}, "do not go together"),
        ({"output": None}, "needs to know how sure an answer is"),
        ({"output": {"type": "object", "properties": {"confidence": {"type": "string"}}}}, "how sure an answer is"),
    ],
)  # fmt: skip
def test_what_nothing_can_be_learned_from_is_refused(more: Any, words: str) -> None:
    with pytest.raises(InvalidPipeline, match=words):
        pipeline(**more)
