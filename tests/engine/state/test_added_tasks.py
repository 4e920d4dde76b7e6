"""Tasks that tasks added: their order, and what happens when the adder is done again."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state.added_tasks import add_tasks, insert_after, withdraw_added
from po_jupyter.engine.state.run_state import AddedTask, RunState, TaskState


def state(*names: str) -> RunState:
    return RunState("r", tasks={name: TaskState(name) for name in names})


def add(run: RunState, by: str, *names: str, after: str | None = None) -> None:
    data: Any = {"tasks": [{"name": name, "prompt": "x"} for name in names]}
    add_tasks(run, by, {**data, "after": after} if after else data)


def test_new_tasks_come_behind_their_task_and_behind_those_put_there_before() -> None:
    added = {name: AddedTask({}, "a", after) for name, after in {"a1": "a", "a1x": "a1", "a2": "a"}.items()}
    order = ["a", "a1", "a1x", "a2", "b"]
    assert insert_after(order, added, "a", ["new"]) == ["a", "a1", "a1x", "a2", "new", "b"]
    assert insert_after(order, added, "a1", ["new"]) == ["a", "a1", "a1x", "new", "a2", "b"]
    assert insert_after(["b"], {}, "gone", ["new"]) == ["b", "new"]


def test_an_added_task_is_pending_and_of_its_kind() -> None:
    run = state("a", "b")
    add(run, "a", "x")
    add_tasks(run, "a", {"tasks": [{"name": "code", "source": "..."}], "after": "b"})
    assert list(run.tasks) == ["a", "x", "b", "code"]
    assert [run.tasks[n].kind for n in ("x", "code")] == ["prompt", "python"]
    assert run.added["code"] == AddedTask({"name": "code", "source": "..."}, "a", "b")


def test_tasks_of_a_task_that_is_done_again_go_with_what_they_added() -> None:
    run = state("a", "b")
    add(run, "a", "x")
    add(run, "x", "y")
    assert withdraw_added(run, ["a", "x", "b"]) == ["a", "b"]
    assert list(run.tasks) == ["a", "b"]
    assert set(run.withdrawn) == {"x", "y"}
    assert run.added == {}


def test_a_task_that_is_added_again_goes_on_counting_its_attempts() -> None:
    """The journal would answer for an attempt whose number is used twice."""
    run = state("a")
    add(run, "a", "x")
    run.tasks["x"].attempt = 3
    withdraw_added(run, ["a"])
    add(run, "a", "x")
    assert (run.tasks["x"].attempt, run.tasks["x"].spent) == (3, 3)
    assert run.withdrawn == {}
