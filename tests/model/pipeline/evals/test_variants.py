"""Variants of a task: what they change, and what they do not go together with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from po_jupyter.model.pipeline.evals.variants import variant_definition
from po_jupyter.model.pipeline.pipeline import Task

FIELDS: dict[str, Any] = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "p", "llm": {"model": "a:b"}}
TWO: dict[str, Any] = {"a": {"prompt": "x", "system": "s"}, "b": {"llm": {"temperature": 0}}}


def made(**fields: Any) -> Task:
    return Task.model_validate({**FIELDS, "variants": TWO, **fields})


def test_a_variant_is_the_task_with_its_own_in_the_place_of_the_tasks() -> None:
    first, second = made().variant_tasks
    assert (first.prompt, first.system, first.llms[0].model, first.variants) == ("x", "s", "a:b", None)
    assert (second.prompt, second.system) == ("p", None)
    assert (second.llms[0].model, second.llms[0].temperature) == ("a:b", 0)
    assert made(variants=None).variant_tasks == (made(variants=None),)
    now, _ = made(variants={"now": None, "b": {}}).variant_tasks
    assert now == made(variants=None)


def test_the_definition_of_a_variant_is_the_same_as_json() -> None:
    definition = made().model_dump(mode="json", exclude_defaults=True)
    assert [Task.model_validate(variant_definition(definition, n)) for n in (0, 1)] == [*made().variant_tasks]


def test_prompts_alone_are_enough() -> None:
    prompts = {"a": {"prompt": "x"}, "b": {"prompt": "y"}}
    task = Task.model_validate({"name": "m", "for_each": "{{ seed.rows }}", "variants": prompts})
    assert [one.prompt for one in task.variant_tasks] == ["x", "y"]
    assert Task.model_validate(task.model_dump(mode="json", exclude_defaults=True)) == task


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": None}, "neither has each of its `variants`"),
        ({"for_each": None}, "no `for_each`"),
        ({"mode": "batch"}, "`variants` and `mode: batch` do not go together"),
        ({"shards": 2}, "`variants` and `shards` do not go together"),
        ({"where": True}, "`variants` and `where` do not go together"),
        ({"prompt": None, "source": "def inference(): ..."}, "this task has no `prompt`"),
        ({"score": {"judge": "good?"}}, "needs its own `llm.model`"),
        ({"variants": {"a": {"prompt": "x"}}}, "at least 2"),
        ({"variants": {"a b": {}, "c": {}}}, "match"),
        ({"variants": {"a": {"promt": "x"}, "c": {}}}, "promt"),
        ({"variants": {"a": {"llm": [{"model": "a:b"}, {"when": "x"}]}, "c": {}}}, "its variant 'a'"),
        ({"variants": {"a": {"prompt": [{"role": "system", "content": "x"}]}, "c": {}}}, "is the user's"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(fields: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(**fields)


def test_votes_and_a_judge_with_a_model_go_together() -> None:
    made(votes=3, score={"judge": "good?", "llm": {"model": "a:c"}, "expect": "{{ item.gold }}"})
