"""The pipeline with the tasks that tasks added."""

from __future__ import annotations

from po_jupyter.engine.state.effective_pipeline import EffectivePipeline, effective_pipeline
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
    assert effective_pipeline(once, state) is once


def test_it_is_computed_again_only_for_other_additions() -> None:
    of_run = EffectivePipeline(PIPELINE)
    assert of_run.at(RunState("r")) is PIPELINE
    tasks = {name: TaskState(name) for name in ("a", "new", "b")}
    once = of_run.at(RunState("r", tasks=tasks, added=ADDED))
    assert once.upstream_of("b") == {"a", "new"}
    assert of_run.at(RunState("r", tasks={**tasks}, added={**ADDED})) is once
    other = {"new": AddedTask({"name": "new", "prompt": "z"}, "a", "a")}
    assert of_run.at(RunState("r", tasks=tasks, added=other)).task("new").prompt == "z"
    assert of_run.at(RunState("r")) is PIPELINE, "the task that added it is done again"


def test_two_runs_of_one_pipeline_keep_their_own() -> None:
    one, two = EffectivePipeline(PIPELINE), EffectivePipeline(PIPELINE)
    state = RunState("r", tasks={name: TaskState(name) for name in ("a", "new", "b")}, added=ADDED)
    first = one.at(state)
    assert two.at(RunState("q")) is PIPELINE and one.at(state) is first
