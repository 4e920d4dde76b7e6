"""The operators of a task as they are written."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.model.pipeline.operators.fields import BETTER, BY_THE_ANSWER, SCORE, YES_OR_NO
from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.model.pipeline.task import Task


def task(**fields: Any) -> Task:
    return Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", **fields})


@pytest.mark.parametrize("yes", ["yes", "Yes", "true", "'yes'"])
def test_yes_is_what_the_answer_says(yes: str) -> None:
    text = f'name: p\ntasks: [{{name: t, for_each: "{{{{ seed.rows }}}}", where: {yes}, prompt: x}}]'
    (made,) = parse_pipeline(text).tasks
    assert (made.where, made.output, made.kind) == (BY_THE_ANSWER, YES_OR_NO, "prompt")


def test_short_forms() -> None:
    assert task(distinct=True).distinct == "{{ item }}"
    assert task(group_by="{{ item.a }}").group_by.key == "{{ item.a }}"  # type: ignore[union-attr]
    assert task(join="{{ seed.b }}").join.to == "{{ seed.b }}"  # type: ignore[union-attr]
    assert task(top_k=3, prompt="x").output == SCORE
    assert task(top_k={"k": 3, "pairs": True}, prompt="x").output == BETTER


def test_a_definition_comes_back_as_it_was() -> None:
    for fields in (
        {"where": True, "prompt": "x"}, {"top_k": {"k": 2, "pairs": True}, "prompt": "x"},
        {"join": {"to": "{{ seed.b }}", "key": "{{ item.a }}"}}, {"group_by": {"key": "{{ item }}", "tokens": 100}},
    ):  # fmt: skip
        made = task(**fields)
        assert Task.model_validate(made.model_dump(mode="json", exclude_defaults=True)) == made
    assert task(where="{{ item }}").kind == "operator"
    assert task(where="{{ item }}").module is None
