"""`group_by`: the groups, and the reduction of large ones."""

from __future__ import annotations

import math
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators.groups import GroupPlan, grouped, groups
from po_jupyter.engine.operators.result_rows import SourceRows


def by(row: Any, index: int) -> Any:
    return row


def test_groups_come_in_the_order_of_their_first_rows() -> None:
    values = ["b", "a", "b", 1, "1", True, None, math.nan, float("nan"), 1.0, "é", "e\u0301"]
    made = grouped(SourceRows(values, "rows", list(range(100, 112))), by)
    assert [row["rows"] for row in made.values][:3] == [["b", "b"], ["a"], [1, 1.0]]
    assert made.places == [[100, 102], [101], [103, 109], [104], [105], [106], [107, 108], [110, 111]]


def test_no_rows_make_no_groups() -> None:
    assert grouped(SourceRows([]), by).values == []
    plan = GroupPlan(SourceRows([]), [], lambda item, combine: True)
    assert (plan.next_items([]), plan.result([]).values, plan.most_calls) == ([], [], 0)


def run(values: list[int], most: int) -> tuple[GroupPlan, list[Any], list[Any]]:
    """The reduction of a sum, at most `most` values in one prompt."""
    source = SourceRows(values)
    plan = GroupPlan(
        source, groups(source, lambda row, index: row % 2), lambda item, _: len(item["rows"]) <= most
    )
    items: list[Any] = []
    outcomes: list[Any] = []
    while more := plan.next_items(outcomes):
        items += more
        outcomes += [{"ok": True, "output": sum(item["rows"]), "error": None} for item in more]
    return plan, items, outcomes


@given(st.lists(st.integers(0, 99), max_size=80), st.integers(1, 7))
def test_a_large_group_is_reduced_to_the_same_answer(values: list[int], most: int) -> None:
    plan, items, outcomes = run(values, most)
    result = {row["key"]: row["output"] for row in plan.result(outcomes).values}
    assert result == {key: sum(v for v in values if v % 2 == key) for key in {v % 2 for v in values}}
    assert len(items) <= plan.most_calls
    largest = max((len(item["rows"]) for item in items), default=0)
    assert largest <= max(most, 2), "two answers go together at least"


def test_steps_are_as_few_as_fit() -> None:
    plan, items, _ = run([2 * n for n in range(100)], 10)
    assert len(items) == 10 + 1
    assert [plan.combines(i) for i in range(11)] == [False] * 10 + [True]


def test_a_step_that_failed_fails_its_group_alone() -> None:
    source = SourceRows([1, 1, 1, 2])
    plan = GroupPlan(source, groups(source, by), lambda item, combine: len(item["rows"]) < 3)
    assert [item["rows"] for item in plan.next_items([])] == [[1, 1], [1], [2]]
    error = {"code": "x", "message": "no"}
    outcomes = [
        {"ok": True, "output": "a", "error": None},
        {"ok": False, "output": None, "error": error},
        {"ok": True, "output": "c", "error": None},
    ]
    assert plan.next_items(outcomes) == []
    first, second = plan.result(outcomes).values
    assert (first["ok"], first["error"], first["size"]) == (False, error, 3)
    assert (second["ok"], second["output"]) == (True, "c")


def test_the_parts_of_a_very_large_group_are_found_in_time() -> None:
    """Twice as many rows take about twice as long: 100,000 in parts of three took 8 s."""
    began = time.process_time()
    plan, items, _ = run(list(range(100_000)), 3)
    assert len(items) <= plan.most_calls
    assert time.process_time() - began < 3
