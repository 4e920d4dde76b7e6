"""Which templates a task has, and what `item` is in each."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.prompts.template_fields import items_of, output_of, rows_of, sees_answer, templates_of
from po_jupyter.engine.prompts.template_samples import NOT_KNOWN, UNKNOWN, SampleScope
from po_jupyter.model.pipeline.task import Task

ROWS = [{"a": 1}, {"a": 2}]
SCOPE = SampleScope({"seed": ({"rows": ROWS, "others": [{"b": 1}]},)})


def task(**fields: Any) -> Task:
    return Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", **fields})


def test_expressions_of_operators_are_among_the_templates() -> None:
    join = {
        "to": "{{ seed.others }}",
        "left_key": "{{ item.a }}",
        "right_key": "{{ item.b }}",
        "where": "{{ item }}",
    }
    fields = [field for field, _ in templates_of(task(join=join, prompt="x"))]
    assert fields == [
        "prompt",
        "for_each",
        "join.to",
        "join.left_key",
        "join.right_key",
        "join.where",
        "join.keep",
    ]
    group = {"key": "{{ item.a }}", "combine": [{"role": "user", "content": "x"}]}
    assert [field for field, _ in templates_of(task(group_by=group, prompt="x"))][2:] == [
        "group_by.key", "group_by.combine[0].content",
    ]  # fmt: skip
    assert "unnest" not in dict(templates_of(task(unnest="tags")))


def test_an_item_is_a_row_a_group_or_a_pair() -> None:
    grouping, joining = task(group_by="{{ item.a }}", prompt="x"), task(join="{{ seed.others }}", prompt="x")
    rows = rows_of(grouping, SCOPE)
    assert rows == tuple(ROWS)
    assert items_of(grouping, "group_by.key", rows, SCOPE) == rows
    assert items_of(grouping, "prompt", rows, SCOPE) == ({"key": UNKNOWN, "rows": ROWS},)
    assert items_of(joining, "prompt", rows, SCOPE) == ({"left": {"a": 1}, "right": {"b": 1}},)
    assert items_of(joining, "join.right_key", rows, SCOPE) == ({"b": 1},)
    assert items_of(joining, "join.left_key", rows, SCOPE) == rows
    pairs = task(top_k={"k": 1, "pairs": True}, prompt="x")
    assert items_of(pairs, "prompt", rows, SCOPE) == ({"left": {"a": 1}, "right": {"a": 1}},)
    assert items_of(grouping, "prompt", NOT_KNOWN, SCOPE) == NOT_KNOWN


def test_the_output_is_the_rows_that_are_left() -> None:
    rows = tuple(ROWS)
    assert output_of(task(where="{{ item.a }}"), rows, SCOPE) == ROWS
    assert output_of(task(unnest="a"), rows, SCOPE) is UNKNOWN
    assert output_of(task(group_by="{{ item.a }}"), rows, SCOPE) == [{"key": UNKNOWN, "rows": ROWS}]
    assert output_of(task(join="{{ seed.others }}"), rows, SCOPE) == [{"left": {"a": 1}, "right": {"b": 1}}]


def test_only_with_a_prompt_there_is_an_answer_to_see() -> None:
    assert sees_answer(task(where=True, prompt="x"), "where")
    assert not sees_answer(task(where="{{ item }}"), "where")
    assert not sees_answer(task(group_by="{{ item }}", prompt="x"), "group_by.key")
