"""The view of a run: what people see of its state."""

from __future__ import annotations

from po_jupyter.engine.state.run_state import RunState, TaskState, run_view_of
from po_jupyter.model.run.usage import Usage


def test_the_view_has_the_open_gate_and_all_usage() -> None:
    one = Usage(calls=1)
    state = RunState(
        "r",
        tasks={
            "a": TaskState("a", state="done", gate="approved", usage=one),
            "b": TaskState("b", state="done", gate="open", gate_info={"message": "look"}, usage=one),
        },
        withdrawn={"x": TaskState("x", usage=one)},
        warnings={"run": {"scope": "run"}},
        offset=7,
    )
    view = run_view_of(state, {"x": 1}, position=2, waiting="a full disk")
    assert view.gate == {"task": "b", "message": "look"}
    assert view.usage.calls == 3
    assert [task.name for task in view.tasks] == ["a", "b"]
    assert (view.warnings, view.last_event) == (({"scope": "run"},), 7)
    assert (view.position, view.waiting, view.seed) == (2, "a full disk", {"x": 1})


def test_tasks_with_a_batch_at_a_provider_are_open() -> None:
    state = RunState("r", tasks={"a": TaskState("a"), "b": TaskState("b", batches={"t": {"token": "t"}})})
    assert state.open_batches == ["b"]
