"""The pipeline as it is now: its definition, and the tasks that tasks have added to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from po_jupyter.engine.state.run_state import AddedTask, RunState
from po_jupyter.model.pipeline.pipeline import Pipeline, Task


class EffectivePipeline:
    """The pipeline of one run, computed again only when the run's additions change.

    A worker needs it for each decision, and the additions hardly ever change.
    """

    __slots__ = ("_added", "_current", "_definition")

    def __init__(self, definition: Pipeline) -> None:
        """`definition` is the pipeline as submitted."""
        self._definition = definition
        self._current = definition
        self._added: dict[str, AddedTask] = {}

    def at(self, state: RunState) -> Pipeline:
        """The pipeline in that state of the run; the same object while the additions are the same."""
        if state.added != self._added:
            self._current = effective_pipeline(self._definition, state)
            self._added = state.added
        return self._current


def effective_pipeline(pipeline: Pipeline, state: RunState) -> Pipeline:
    """`pipeline` with the tasks that the run's tasks added, in the order of `state`; `pipeline` itself when it has
    them."""
    if not state.added:
        return pipeline
    tasks = {task.name: task for task in pipeline.tasks}
    for name, added in state.added.items():
        if name not in tasks:
            tasks[name] = Task.model_validate(added.definition)
    ordered = tuple(tasks[name] for name in state.tasks if name in tasks)
    return pipeline if ordered == pipeline.tasks else with_tasks(pipeline, ordered)


def with_tasks(pipeline: Pipeline, tasks: Iterable[Task]) -> Pipeline:
    """`pipeline` with `tasks` instead of its own, not checked: additions were checked when they were made."""
    fields = {name: getattr(pipeline, name) for name in type(pipeline).model_fields}
    return Pipeline.model_construct(pipeline.model_fields_set, **{**fields, "tasks": tuple(tasks)})
