"""Calls that a dead worker left: each reported once, with what is known of it (P3)."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.replay.history import History, read_history
from po_jupyter.engine.replay.lost_calls import report_lost_calls, report_lost_progress
from po_jupyter.engine.state.fold import fold
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, new_run

TASK_KEY, ROW_KEY = "a/-/1/0/inference/h/0", "m/0/101/0/inference/h/0"


class Rig:
    """The log of a run with a task and a map; a new worker reads it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        tasks: list[Any] = [{"name": "a", "prompt": "x"}, {"name": "m", "prompt": "x", "for_each": "[1, 2]"}]
        new_run(self.store, {"name": "p", "tasks": tasks}, {})

    def write(
        self, *events: Any, calls: tuple[Any, ...] = (), items: tuple[Any, ...] = (), payloads: Any = ()
    ) -> Rig:
        lease = self.store.claim(RUN, {"pid": 1})
        self.store.commit(lease, Commit(list(events), list(items), list(calls), payloads=list(payloads)))
        return self

    def read(self) -> History:
        return read_history(self.store, RUN)

    def report(self) -> list[Any]:
        """What a worker that takes the run over reports, and writes."""
        events = report_lost_calls(self.read())
        if events:
            self.write(*events)
        return [(e["task"], {k: v for k, v in e["data"]["usage"].items() if v}) for e in events]


def intent(key: str) -> dict[str, Any]:
    return {"key": key, "kind": "intent", "model": "x:y", "stage": "inference"}


def answer(key: str, **usage: Any) -> dict[str, Any]:
    return {
        "key": key,
        "kind": "response",
        "ok": True,
        "response": {"usage": {"calls": 1, **usage}},
        "answer": 0,
    }


def test_a_call_in_flight_is_reported_once_for_each_death() -> None:
    rig = Rig().write(calls=(intent(TASK_KEY),))
    assert rig.report() == [("a", {"calls": 1, "unknown": 1})]
    assert rig.report() == [], "the next worker dies before it sends anything"
    rig.write(calls=(intent(TASK_KEY),))
    assert rig.report() == [("a", {"calls": 1, "unknown": 1})]
    assert rig.read().state.usage.unknown == 2


def test_answers_of_a_row_without_outcome_are_counted_and_those_of_a_task_are_not_counted_twice() -> None:
    """P5: a task's own calls have each a `call.done`; a row's are reported with its outcome, which never came."""
    rig = Rig().write(
        draft("call.done", "a", model="x:y", seconds=1.0, usage={"calls": 1, "input_tokens": 7}),
        calls=(intent(TASK_KEY), answer(TASK_KEY, input_tokens=7)), payloads=("t",),
    )  # fmt: skip
    assert rig.report() == []
    rig.write(calls=(intent(ROW_KEY), answer(ROW_KEY, input_tokens=9)), payloads=("t",))
    assert rig.report() == [("m", {"calls": 1, "input_tokens": 9})]
    assert rig.report() == []
    assert rig.read().state.usage.input_tokens == 16


def test_calls_that_were_taken_back_and_rows_that_have_an_outcome_are_no_loss() -> None:
    rig = Rig().write(calls=(intent(TASK_KEY), {"key": TASK_KEY, "kind": "withdrawn"}))
    rig.write(
        calls=(intent(ROW_KEY), answer(ROW_KEY)), payloads=("t",),
        items=({"task": "m", "index": 0, "ok": True, "output": 0, "usage": {"calls": 1}},),
    )  # fmt: skip
    assert rig.report() == []


def test_outcomes_that_no_counter_had_are_counted_for_a_run_without_a_worker() -> None:
    """A run that is dead shows the rows that it has."""
    rig = Rig().write(draft("map.started", "m", total=2))
    ok = {"task": "m", "index": 0, "ok": True, "output": 0, "usage": {"calls": 1, "input_tokens": 9}}
    failed = {"task": "m", "index": 1, "ok": False, "error": {}, "usage": {"calls": 1}}
    rig.write(items=(ok, failed), payloads=("t",))
    history = rig.read()
    (event,) = report_lost_progress(history)
    after = fold(history.state, [{**event, "offset": history.state.offset + 1}])
    items = after.tasks["m"].items
    assert items is not None
    assert (items.total, items.done, items.failed, items.in_flight) == (2, 1, 1, 0)
    assert (after.usage.calls, after.usage.input_tokens) == (2, 9)
    rig.write(event)
    assert report_lost_progress(rig.read()) == []
