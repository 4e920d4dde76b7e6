"""The fold of events to the state of a run, one rule after the other; `test_decide` has its properties."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState, TaskState

TASKS = [{"name": "a", "kind": "prompt"}, {"name": "left", "kind": "python"}]
CREATED = ("run.created", None, {"name": "n", "pipeline": "p", "version": "1.0.0", "tasks": TASKS})
CRASH = ("worker.crashed", None, {"error": {}, "crashes": 1})


def log(*events: tuple[str, str | None, dict[str, Any]]) -> list[Any]:
    """`run.created` and these events, numbered, one second after the other."""
    return [
        {"offset": i, "at": f"2026-01-01T00:00:{i:02d}", "type": kind, "task": task, "data": data}
        for i, (kind, task, data) in enumerate((CREATED, *events), 1)
    ]


def state(*events: tuple[str, str | None, dict[str, Any]]) -> RunState:
    return fold(RunState("r"), log(*events))


def task(*events: tuple[str, dict[str, Any]], name: str = "a") -> TaskState:
    """The task after these events of it."""
    return state(*((kind, name, data) for kind, data in events)).tasks[name]


def test_what_was_seen_changes_nothing_and_nothing_is_changed_in_place() -> None:
    """P1: a delivery that comes twice, or a state that others still read."""
    events = log(("task.started", "a", {"attempt": 1}), ("call.done", "a", {"usage": {"calls": 1}}))
    before = fold(RunState("r"), events)
    kept = deepcopy(before)
    more = {**events[-1], "offset": 4}
    after = fold(before, [*events, more])
    assert (after.tasks["a"].usage.calls, after.offset) == (2, 4)
    assert before == kept


def test_unknown_events_move_the_offset_only() -> None:
    """A newer version's log is read as far as it is understood."""
    before = state()
    after = state(("task.dreamed", "a", {"x": 1}), ("run.dreamed", None, {}))
    assert (after.offset, after.tasks) == (before.offset + 2, before.tasks)
    assert after.state == before.state == "pending"


def test_only_progress_forgives_a_crash() -> None:
    """R1.2: a worker that starts the same task again and dies again must not do so for ever."""
    again = ("task.started", "left", {"attempt": 1})
    first = ("map.progress", "left", {"done": 3, "failed": 0})
    assert state(again, CRASH, again, CRASH).crashes == 2
    assert state(again, first, CRASH, again, first, CRASH).crashes == 2
    more = ("map.progress", "left", {"done": 4, "failed": 0})
    assert state(again, first, CRASH, again, more, CRASH).crashes == 1
    assert state(CRASH, CRASH, ("task.done", "a", {"output": [1, 0]})).crashes == 0


def test_an_attempt_that_fails_is_pending_again_with_its_error_and_delay() -> None:
    error = {"code": "x", "message": "m"}
    retrying = task(
        ("task.started", {"attempt": 1}), ("task.retrying", {"attempt": 1, "delay": 7.6, "error": error})
    )
    assert (retrying.state, retrying.delay, retrying.error) == ("pending", 7.6, error)
    assert retrying.waiting == "next attempt in 8 s"
    again = task(
        ("task.started", {"attempt": 1}),
        ("task.retrying", {"attempt": 1, "delay": 7.6, "error": error}),
        ("task.started", {"attempt": 2}),
    )
    assert (again.state, again.attempt, again.error, again.waiting, again.delay) == (
        "running",
        2,
        None,
        None,
        0.0,
    )
    assert again.started_at == "2026-01-01T00:00:02", "a task began when its first attempt did"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"seconds": 12.4, "reason": "openai"}, "waiting 12 s for openai"),
        ({"seconds": 0.2, "reason": "openai"}, "waiting for openai"),
        ({"reason": "the budget"}, "waiting for the budget"),
        ({}, None),
    ],
)
def test_what_a_task_waits_for_is_shown(data: dict[str, Any], shown: str | None) -> None:
    waited = task(("task.waiting", {"reason": "something"}), ("task.waiting", data))
    assert waited.waiting == shown


def test_an_answer_ends_a_wait_unless_the_wait_is_for_something_else() -> None:
    answer = ("call.done", {"usage": {"calls": 1}})
    assert task(("task.waiting", {"reason": "openai"}), answer).waiting is None
    assert task(("task.waiting", {"reason": "a batch", "stays": True}), answer).waiting == "waiting for a batch"
    assert (
        task(("task.waiting", {"reason": "a batch", "stays": True}), ("task.stage", {"stage": "x"})).waiting
        is None
    )


def test_a_map_that_starts_again_keeps_the_rows_that_are_done() -> None:
    """P12."""
    rows = task(
        ("map.started", {"total": 9}),
        ("map.progress", {"done": 5, "failed": 2, "in_flight": 2, "reused": 1}),
        ("map.started", {"total": 9, "of": "rows"}),
    )
    assert rows.items is not None
    assert (rows.items.total, rows.items.done, rows.items.failed, rows.items.reused) == (9, 5, 0, 1)
    assert rows.rows_of == "rows"


def test_nothing_of_a_map_that_is_done_is_in_flight() -> None:
    done = task(
        ("map.started", {"total": 3}),
        ("map.progress", {"done": 3, "failed": 0, "in_flight": 1}),
        ("task.done", {"output": [4, 0]}),
    )
    assert done.items is not None
    assert (done.items.done, done.items.in_flight, done.output) == (3, 0, [4, 0])


def test_usage_is_added_up_with_calls_whose_outcome_nobody_knows() -> None:
    """P5."""
    used = task(
        ("call.done", {"usage": {"calls": 1, "input_tokens": 10, "cost": 0.5}}),
        ("call.unknown", {"usage": {"calls": 1, "unknown": 1}}),
        ("call.withdrawn", {"usage": {"input_tokens": 3}}),
        ("map.progress", {"done": 1, "failed": 0, "usage": {"calls": 1, "cost": 0.25}}),
    ).usage
    assert (used.calls, used.unknown, used.input_tokens, used.cost) == (3, 1, 13, 0.75)


def test_a_batch_is_open_until_it_is_closed_or_dropped() -> None:
    """P3: a worker that takes the run over finds by it what it has to collect."""
    prepared = [("batch.prepared", {"token": t, "rows": [1]}) for t in ("s", "t")]
    submitted = ("batch.submitted", {"token": "t", "id": "b1"})
    cancelling = ("batch.cancelling", {"token": "t"})
    opened = task(*prepared, submitted, cancelling).batches
    assert opened["t"] == {
        "token": "t", "rows": [1], "id": "b1", "cancelling": True, "at": "2026-01-01T00:00:03", "offset": 3,
    }  # fmt: skip
    assert "id" not in opened["s"]
    assert task(*prepared, submitted, ("batch.closed", {"token": "t"})).batches.keys() == {"s"}
    assert task(
        *prepared, ("batch.dropped", {"token": "s"}), ("batch.submitted", {"token": "s"})
    ).batches.keys() == {"t"}


def test_a_gate_has_its_message_its_decision_and_by_whom() -> None:
    """B12."""
    opened = ("gate.opened", {"message": "look", "artifacts": ["a.md"]})
    rejected = task(opened, ("gate.decided", {"decision": "reject", "note": "no", "by": "me"}))
    assert rejected.gate == "rejected"
    assert rejected.gate_info == {
        "message": "look", "artifacts": ["a.md"], "note": "no", "by": "me", "at": "2026-01-01T00:00:03",
    }  # fmt: skip
    assert task(opened, ("gate.decided", {"decision": "approve"})).gate == "approved"


@pytest.mark.parametrize(
    ("kind", "task_state", "error"),
    [
        ("run.cancelled", "cancelled", None),
        ("run.failed", "failed", None),
        ("run.dead", "failed", {"code": "dead"}),
        ("run.done", "running", None),
    ],
)
def test_a_run_that_ends_ends_what_ran(kind: str, task_state: str, error: Any) -> None:
    """No task of a run that is over is shown as running."""
    ended = state(
        ("task.done", "left", {"output": [2, 0]}),
        ("task.started", "a", {"attempt": 1}),
        ("run.cancel_requested", None, {}),
        (kind, None, {"error": {"code": "dead"}}),
    )
    assert (ended.tasks["a"].state, ended.tasks["a"].error) == (task_state, error)
    assert ended.tasks["left"].state == "done"
    assert not ended.cancel_requested


def test_a_cancellation_is_requested_of_what_has_not_ended() -> None:
    cancel = ("run.cancel_requested", None, {})
    assert state(("run.started", None, {}), cancel).cancel_requested
    assert not state(("run.done", None, {}), cancel).cancel_requested


def test_a_resume_resets_tasks_and_leaves_the_others() -> None:
    """P12: what is done again begins as new, counts its attempts on, and keeps what it used."""
    resumed = state(
        ("task.started", "a", {"attempt": 2}),
        ("call.done", "a", {"usage": {"calls": 1}}),
        ("gate.opened", "a", {"message": "m"}),
        ("task.done", "a", {"output": [2, 0], "artifacts": [{"name": "x"}]}),
        ("task.done", "left", {"output": [3, 0]}),
        CRASH,
        ("run.failed", None, {"error": {"code": "x"}}),
        ("run.resumed", None, {"reset": ["a"], "only": "a", "request": "q2"}),
    )
    assert (resumed.state, resumed.error, resumed.crashes) == ("pending", None, 0)
    assert (resumed.only, resumed.request) == ("a", "q2")
    again = resumed.tasks["a"]
    assert (again.state, again.output, again.artifacts, again.gate, again.started_at) == (
        "pending",
        None,
        (),
        None,
        None,
    )
    assert (again.attempt, again.spent, again.usage.calls) == (2, 2, 1)
    assert resumed.tasks["left"].output == [3, 0]


def test_rows_of_a_cleared_map_are_void_from_the_resume_on() -> None:
    rows = [("map.started", "left", {"total": 9}), ("map.progress", "left", {"done": 7, "failed": 2})]
    resumed = state(
        *rows, ("run.failed", None, {}), ("run.resumed", None, {"reset": ["left"], "clear": ["left", "gone"]})
    )
    assert (resumed.tasks["left"].items, resumed.tasks["left"].cleared_at) == (None, 5)
    kept = state(*rows, ("run.failed", None, {}), ("run.resumed", None, {"reset": ["left"]}))
    assert kept.tasks["left"].items is not None
    assert kept.tasks["left"].items.done == 7


def test_rows_that_a_killed_worker_had_not_reported_are_not_taken_off() -> None:
    """A count of rows is never below nothing."""
    rows = [("map.started", "left", {"total": 9}), ("map.progress", "left", {"done": 1, "failed": 0})]
    again = {"left": {"rows": "1-5", "done": 3, "failed": 2}}
    resumed = state(*rows, ("run.dead", None, {}), ("run.resumed", None, {"reset": ["left"], "rows": again}))
    items = resumed.tasks["left"].items
    assert items is not None
    assert (items.done, items.failed) == (0, 0)


def test_a_larger_budget_of_a_resume_warns_anew_of_what_it_changed_only() -> None:
    """P5."""
    created = {**CREATED[2], "budget": {"usd": 1.0, "tasks": {"a": {"tokens": 5}}}}
    warned = [("budget.warning", None, {"scope": scope}) for scope in ("run", "a", "left", "day")]
    events = log(*warned, ("run.resumed", None, {"budget": {"tasks": {"a": {"tokens": 9}}}}))
    events[0]["data"] = created
    resumed = fold(RunState("r"), events)
    assert resumed.budget == {"usd": 1.0, "tasks": {"a": {"tokens": 9}}}
    assert resumed.warnings.keys() == {"run", "left"}
    more = fold(resumed, [{**events[-1], "offset": 7, "data": {"budget": {"usd": 3.0}}}])
    assert more.budget == {"usd": 3.0, "tasks": {"a": {"tokens": 9}}}
    assert more.warnings.keys() == {"left"}


def test_a_run_that_only_goes_on_after_its_gate_keeps_its_one_task() -> None:
    restarted = [("run.failed", None, {}), ("run.resumed", None, {"reset": ["a"], "only": "a"})]
    waiting = [*restarted, ("run.waiting", None, {"task": "a"}), ("run.resumed", None, {"by": "me"})]
    assert state(*waiting).only == "a"
    assert state(*waiting, ("run.done", None, {})).only is None


@pytest.mark.parametrize("kind", ["failed", "skipped", "cancelled"])
def test_a_task_that_ends_without_output_has_its_end_and_waits_for_nothing(kind: str) -> None:
    data = {"error": {"code": "x"}, "reason": "no need", "by": "left"}
    ended = task(("task.waiting", {"reason": "openai"}), (f"task.{kind}", data))
    assert (ended.state, ended.ended_at, ended.waiting) == (kind, "2026-01-01T00:00:03", None)
    assert ended.error == ({"code": "x"} if kind == "failed" else None)
    assert (ended.reason, ended.skipped_by) == (("no need", "left") if kind == "skipped" else (None, None))


def test_a_review_of_an_ended_run_is_not_its_end() -> None:
    """Lists show how long a run took: from its start to `updated_at`."""
    review = ("item.reviewed", "a", {"by": "ada", "decision": "agree"})
    assert state(review).updated_at == "2026-01-01T00:00:02"
    assert state(("run.done", None, {}), review).updated_at == "2026-01-01T00:00:02"
