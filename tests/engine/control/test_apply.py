"""Directives become events, checked against the run as it is, without a run."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.control.apply import directive_events, skipped_tasks
from po_jupyter.engine.control.directives import read_directives
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import ControlInvalid
from po_jupyter.model.pipeline.pipeline import Pipeline

PIPELINE = Pipeline(name="p", tasks=[{"name": n, "prompt": "x"} for n in ("a", "b", "c")])


def events(*directives: dict[str, Any], running: frozenset[str] = frozenset()) -> list[Any]:
    state = RunState("r", tasks={name: TaskState(name) for name in ("a", "b", "c")})
    state.tasks["a"].state = "running"
    sourced = [("ctx.control", read_directives(each)) for each in directives]
    return directive_events(PIPELINE, state, "a", sourced, running=running)


def add(name: str, **more: Any) -> dict[str, Any]:
    return {"patch": {"add": [{"name": name, "prompt": "x"}], **more}}


def test_each_is_checked_against_the_run_as_those_before_leave_it() -> None:
    made = events(add("new"), {"skip": [{"task": "new", "reason": "not after all"}]})
    assert [event["type"] for event in made] == ["tasks.added", "task.skipped"]
    assert skipped_tasks(made) == {"new"}
    with pytest.raises(ControlInvalid, match="already"):
        events(add("new"), add("new"))


def test_pauses_are_one_gate_with_all_messages() -> None:
    (gate,) = events(
        {"pause": {"message": "first", "artifacts": ["a.txt"]}},
        {"pause": {"message": "second", "artifacts": ["a.txt", "b.txt"]}},
    )
    assert gate["data"] == {"message": "first\nsecond", "artifacts": ["a.txt", "b.txt"]}


@pytest.mark.parametrize(
    ("task", "message"),
    [("nowhere", "there is no task"), ("a", "only later ones"), ("b", "has started already")],
)
def test_only_later_tasks_that_have_not_started_are_skipped(task: str, message: str) -> None:
    with pytest.raises(ControlInvalid) as caught:
        events({"skip": [{"task": task, "reason": "x"}]}, running=frozenset({"b"}))
    assert message in str(caught.value)


def test_every_violation_is_named_and_nothing_is_applied() -> None:
    skip = [{"task": "nowhere", "reason": "x"}, {"task": "c", "reason": "x"}, {"task": "c", "reason": "x"}]
    with pytest.raises(ControlInvalid) as caught:
        events({"skip": skip})
    assert len(caught.value.details["violations"]) == 2
