"""What a fork takes over, decided without a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.control.fork import (
    budget_of,
    copy_checkpoints,
    inherited_definition,
    tasks_taken_over,
)
from tests.support.engine import Bench

DIAMOND = validate_pipeline({
    "name": "diamond",
    "tasks": [
        {"name": "a", "prompt": "a"},
        {"name": "left", "prompt": "l", "needs": "a"},
        {"name": "right", "prompt": "r", "needs": "a"},
        {"name": "end", "prompt": "e", "needs": ["left", "right"]},
    ],
})  # fmt: skip


def state(*events: tuple[str, str | None, dict[str, Any]]) -> RunState:
    tasks = [{"name": t.name, "kind": t.kind} for t in DIAMOND.tasks]
    created = ("run.created", None, {"name": "n", "pipeline": "p", "version": "1.0.0", "tasks": tasks})
    numbered = [
        {"offset": i, "at": "2026-01-01", "type": kind, "task": task, "data": data}
        for i, (kind, task, data) in enumerate((created, *events), 1)
    ]
    return fold(RunState("0123456789abcdef012345"), numbered)


def done(*names: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    return [("task.done", name, {"output": [1, 0]}) for name in names]


def test_what_is_finished_and_not_after_the_task_is_taken_over() -> None:
    """G5."""
    everything = state(*done("a", "left", "right", "end"))
    assert tasks_taken_over(DIAMOND, everything, "left") == ["a", "right"]
    assert tasks_taken_over(DIAMOND, everything, "a") == []
    assert tasks_taken_over(DIAMOND, everything, "end") == ["a", "left", "right"]


def test_what_needs_something_unfinished_is_not_taken_over() -> None:
    """A task of another pipeline's run may be done although what it needs here is not."""
    assert tasks_taken_over(DIAMOND, state(*done("left", "right")), "end") == []
    assert tasks_taken_over(DIAMOND, state(*done("a"), ("task.skipped", "left", {"reason": "no"})), "end") == [
        "a",
        "left",
    ]


def test_an_unknown_task_is_told_with_a_guess() -> None:
    with pytest.raises(NotFound, match="did you mean `left`"):
        tasks_taken_over(DIAMOND, state(), "lefd")


def test_a_definition_without_added_tasks_is_inherited_as_it_is() -> None:
    assert inherited_definition(DIAMOND, state(*done("a")), "left") is DIAMOND


async def test_what_is_taken_over_keeps_its_votes_and_scores(tmp_path: Path) -> None:
    """They are columns of its frame, and paid for."""
    more = {"votes": 2, "score": {"expect": "{{ 'echo: x' }}", "metrics": ["exact"]}}
    rows = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "{{ item }}", **more}
    bench = Bench(tmp_path).create([rows, {"name": "a", "prompt": "x", **more}], {"rows": ["x", "y"]})
    assert await bench.go() == "done"
    copied = copy_checkpoints(bench.store, bench.state, ["m", "a"])
    votes = {"agreeing": 2, "asked": 2, "n": 2}
    assert [item.get("votes") for item in copied.items] == [votes, votes]
    assert [item["scores"]["values"] for item in copied.items] == [{"exact": 1.0}, {"exact": 0.0}]
    (end,) = (event for event in copied.events if event.get("task") == "a")
    assert (end["data"]["votes"], end["data"]["scores"]["values"]) == (votes, {"exact": 1.0})


def test_limits_of_its_tasks_hold_in_a_fork() -> None:
    limits = {"usd": 2, "tasks": {"left": {"usd": 1}, "gone": {"usd": 1}}}
    resumed = ("run.resumed", None, {"by": "me", "reset": [], "clear": [], "budget": limits})
    assert budget_of(state(resumed), DIAMOND) == {"usd": 2, "tasks": {"left": {"usd": 1}}}
