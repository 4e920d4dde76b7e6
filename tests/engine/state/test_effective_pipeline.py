"""The pipeline with the tasks that tasks added."""

from __future__ import annotations

from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.run_state import AddedTask, RunState, TaskState
from po_jupyter.model.pipeline.pipeline import Pipeline

PIPELINE = Pipeline(name="p", tasks=[{"name": "a", "prompt": "x"}, {"name": "b", "prompt": "x"}])
ADDED = {"new": AddedTask({"name": "new", "prompt": "y"}, "a", "a")}


def test_without_additions_it_is_the_very_pipeline() -> None:
    assert effective_pipeline(PIPELINE, RunState("r")) is PIPELINE


def test_added_tasks_stand_where_the_state_has_them_and_twice_changes_nothing() -> None:
    state = RunState("r", tasks={name: TaskState(name) for name in ("a", "new", "b")}, added=ADDED)
    once = effective_pipeline(PIPELINE, state)
    assert [task.name for task in once.tasks] == ["a", "new", "b"]
    assert once.upstream_of("b") == {"a", "new"}
    assert effective_pipeline(PIPELINE, state) is once
    assert [t.name for t in effective_pipeline(once, state).tasks] == ["a", "new", "b"]
