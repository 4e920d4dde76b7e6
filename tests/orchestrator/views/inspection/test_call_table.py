"""Calls in columns of numbers."""

from __future__ import annotations

from typing import Any

from po_jupyter.orchestrator.views.inspection.call_table import CallTable


def record(n: int, *calls: Any, fence: int = 1) -> Any:
    return {"n": n, "at": "", "fence": fence, "first": 1, "events": [], "items": [], "calls": list(calls)}


def call(kind: str, task: str = "a", row: object = "-", **more: Any) -> Any:
    return {"key": f"{task}/{row}/1/0/inference/{'0' * 32}/0", "kind": kind, "model": "m", **more}


def test_whatever_ends_a_call_ends_the_last_one_that_has_its_key() -> None:
    table = CallTable()
    table.apply(record(1, call("intent")))
    table.apply(record(2, call("intent"), call("withdrawn")))
    table.apply(record(3, call("intent"), fence=2))
    assert [table.state(i, 2) for i in range(3)] == ["unknown", "withdrawn", "in_flight"]
    table.apply(record(4, call("response", ok=False)))
    assert [table.state(i, 2) for i in range(3)] == ["unknown", "withdrawn", "failed"]
    assert table.place(2) == ((3, 0), (4, 0))


def test_an_answer_without_an_intent_is_a_call_too() -> None:
    """The cache's, or a batch's."""
    table = CallTable()
    table.apply(record(1, call("response", ok=True, row=3)))
    assert (len(table), table.state(0, None), table.place(0)) == (1, "done", (None, (1, 0)))


def test_calls_are_found_by_task_row_and_state() -> None:
    table = CallTable()
    table.apply(record(1, call("intent", row=0), call("intent", row=1), call("intent", "b")))
    table.apply(record(2, call("response", row=1, ok=True)))
    assert list(table.numbers(None, None, None, 1)) == [0, 1, 2]
    assert list(table.numbers("a", None, None, 1)) == [0, 1]
    assert list(table.numbers("a", 1, "done", 1)) == [1]
    assert list(table.numbers("nowhere", None, None, 1)) == []
    assert table.open_rows("a", 1) == {0}
    assert table.open_rows("a", 2) == set()
