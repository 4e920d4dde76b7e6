"""The pipeline as it is now: its definition, and the tasks that tasks have added to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from po_jupyter.engine.state.run_state import AddedTask, RunState
from po_jupyter.model.pipeline.pipeline import Pipeline, Task

# The last result. A worker needs it for each decision, and the additions hardly ever change.
_last: tuple[Pipeline, dict[str, AddedTask], Pipeline] | None = None


def effective_pipeline(pipeline: Pipeline, state: RunState) -> Pipeline:
    """`pipeline` with what the run's tasks added, in the order of `state`. Applied twice it changes nothing."""
    global _last
    if not state.added:
        return pipeline
    last = _last
    if last is not None and last[0] is pipeline and last[1] == state.added:
        return last[2]
    tasks = {task.name: task for task in pipeline.tasks}
    for name, added in state.added.items():
        if name not in tasks:
            tasks[name] = Task.model_validate(added.definition)
    result = with_tasks(pipeline, [tasks[name] for name in state.tasks if name in tasks])
    _last = pipeline, state.added, result
    return result


def with_tasks(pipeline: Pipeline, tasks: Iterable[Task]) -> Pipeline:
    """`pipeline` with `tasks` instead of its own, not checked: additions were checked when they were made."""
    fields = {name: getattr(pipeline, name) for name in type(pipeline).model_fields}
    return Pipeline.model_construct(pipeline.model_fields_set, **{**fields, "tasks": tuple(tasks)})
