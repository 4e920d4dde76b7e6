"""What a resume does again: decided without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.resume import resume_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline

DIAMOND = validate_pipeline({
    "name": "diamond",
    "tasks": [
        {"name": "a", "prompt": "a"},
        {"name": "left", "prompt": "l", "needs": "a", "for_each": "{{ seed.rows }}"},
        {"name": "right", "prompt": "r", "needs": "a"},
        {"name": "end", "prompt": "e", "needs": ["left", "right"]},
    ],
})  # fmt: skip


def state(pipeline: Pipeline, *events: tuple[str, str | None, dict[str, Any]]) -> RunState:
    """The fold of these events after `run.created`."""
    tasks = [{"name": t.name, "kind": t.kind} for t in pipeline.tasks]
    created = ("run.created", None, {"name": "n", "pipeline": "p", "version": "1.0.0", "tasks": tasks})
    said = []
    for i, (kind, task, data) in enumerate((created, *events), 1):
        said.append({"offset": i, "at": "2026-01-01", "type": kind, "task": task, "data": data})
    return fold(RunState("0123456789abcdef012345"), said)


DONE = [("task.done", name, {"output": [1, 0]}) for name in ("a", "left", "right", "end")]
ROWS = [("map.started", "left", {"total": 9}), ("map.progress", "left", {"done": 7, "failed": 2})]
ENDED = ("run.done", None, {})


def test_a_failed_run_does_its_failed_tasks_again_and_keeps_their_rows() -> None:
    """P12."""
    failed = state(DIAMOND, DONE[0], DONE[2], ("task.failed", "left", {}), ("run.failed", None, {}))
    assert resume_plan(DIAMOND, failed) == (("left",), (), ())


def test_from_a_task_on_everything_after_it_is_done_again() -> None:
    """B13."""
    failed = state(DIAMOND, *DONE[:3], ("task.failed", "end", {}), ("run.failed", None, {}))
    assert resume_plan(DIAMOND, failed, from_task="left") == (("left", "end"), ("left", "end"), ())
    with pytest.raises(NotFound, match="did you mean `left`"):
        resume_plan(DIAMOND, failed, from_task="lefd")


def test_only_failed_rows_are_legal_on_a_done_run_and_their_dependents_run_again() -> None:
    """DESIGN, Maps: rows that are done stay, what used them does not."""
    done = state(DIAMOND, *ROWS, *DONE, ENDED)
    assert resume_plan(DIAMOND, done, only_failed=True) == (("left", "end"), ("end",), ())
    with pytest.raises(Conflict, match="nothing to resume"):
        resume_plan(DIAMOND, done)
    with pytest.raises(Conflict, match="no failed rows"):
        resume_plan(DIAMOND, state(DIAMOND, *DONE, ENDED), only_failed=True)


@pytest.mark.parametrize("kind", ["run.started", "run.waiting"])
def test_what_has_not_ended_does_not_resume(kind: str) -> None:
    with pytest.raises(Conflict):
        resume_plan(DIAMOND, state(DIAMOND, (kind, None, {})))


def test_a_rejected_gate_is_asked_again_and_its_task_is_not_paid_again() -> None:
    """P12, B12."""
    rejected = state(
        DIAMOND,
        DONE[0],
        ("gate.opened", "a", {"message": "look"}),
        ("gate.decided", "a", {"decision": "reject"}),
        ("run.cancelled", None, {}),
    )
    assert resume_plan(DIAMOND, rejected) == ((), (), ("a",))
