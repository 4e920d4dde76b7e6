"""Which tasks can have a confidence, and of which field of their answers."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.evals.confidence import label_field, with_confidence, without_confidence
from po_jupyter.model.pipeline.parsing import validate_pipeline

LABEL = {"type": "object", "required": ["label"], "additionalProperties": False, "properties": {
    "label": {"enum": ["bug", "question"]}, "why": {"type": "string"}}}  # fmt: skip


def pipeline(**more: Any) -> Any:
    task = {"name": "m", "prompt": "Label {{ seed.text }}", "output": LABEL, "confidence": "logprobs", **more}
    return validate_pipeline({"name": "p", "tasks": [task]})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"votes": 3}, "`confidence` and `votes` do not go together"),
        ({"output": {"type": "object", "properties": {"a": {"type": "string"}}}}, "one field that is an `enum`"),
        ({"output": {**LABEL, "properties": {"a": {"enum": [1, 2]}, "b": {"enum": [1, 2]}}}}, "one field that is an"),
        ({"output": {**LABEL, "properties": {"a": {"enum": [1, 2]}, "confidence": {}}}}, "`confidence` of its own"),
        ({"output": None}, "one field that is an `enum`"),
    ],
)  # fmt: skip
def test_a_task_that_has_no_one_label_is_refused(more: Any, words: str) -> None:
    with pytest.raises(InvalidPipeline, match=words):
        pipeline(**more)


def test_the_label_is_the_one_field_of_an_enum_else_the_one_that_is_true_or_false() -> None:
    assert label_field(LABEL) == ("label", ("bug", "question"))
    keep = {"properties": {"keep": {"type": "boolean"}, "why": {"type": "string"}}}
    assert label_field(keep) == ("keep", (True, False))
    named = {"properties": {"kind": {"$ref": "#/$defs/Kind"}}, "$defs": {"Kind": {"enum": ["a", "b"]}}}
    assert label_field(named) == ("kind", ("a", "b"))
    assert label_field(None) is None


def test_outputs_have_the_field_and_what_the_model_is_asked_for_has_not() -> None:
    (task,) = pipeline().tasks
    assert list(with_confidence(task)["properties"]) == ["label", "why", "confidence"]
    assert task.output == LABEL


def test_what_an_answer_says_is_the_rest_of_it() -> None:
    assert without_confidence({"label": "bug", "confidence": 0.4}) == {"label": "bug"}
    for answer in ({"confidence": 0.4}, {"label": "bug"}, "bug", None, [0.4]):
        assert without_confidence(answer) == answer
