"""Tasks that tasks added to a run: their place among the others, and their removal when the adder is done again.

Pure; `fold` changes a copy of the state with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from po_jupyter.engine.state.run_state import AddedTask, RunState, TaskState
from po_jupyter.model.pipeline.operators.fields import OPERATORS
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import TasksAddedData


def insert_after(
    names: Sequence[str], added: Mapping[str, AddedTask], after: str, new: Sequence[str]
) -> list[str]:
    """The order of tasks once `new` is put behind `after`, and behind what was put there before."""
    if after not in names:
        return [*names, *new]

    def follows(name: str) -> bool:
        while name in added:
            name = added[name].after
            if name == after:
                return True
        return False

    at = list(names).index(after) + 1
    while at < len(names) and follows(names[at]):
        at += 1
    return [*names[:at], *new, *names[at:]]


def add_tasks(state: RunState, by: str, data: TasksAddedData) -> None:
    """Add the tasks of a `tasks.added` event of task `by` to the state."""
    after = data.get("after") or by
    names = [task["name"] for task in data["tasks"]]
    order = insert_after(list(state.tasks), state.added, after, names)
    for task in data["tasks"]:
        name = task["name"]
        state.added[name] = AddedTask(task, by, after)
        # An attempt's number is never used twice in a run: the journal would answer for it.
        earlier = state.withdrawn.pop(name, None) or TaskState(name)
        state.tasks[name] = TaskState(
            name,
            kind=_kind(task),
            attempt=earlier.attempt,
            spent=earlier.attempt,
            usage=earlier.usage,
            cleared_at=earlier.cleared_at,
        )
    state.tasks = {name: state.tasks[name] for name in order}


def _kind(task: JsonObject) -> Literal["prompt", "embed", "python", "operator", "pipeline"]:
    if task.get("pipeline"):
        return "pipeline"
    if task.get("prompt") is not None:
        return "prompt"
    if task.get("embed") is not None:
        return "embed"
    return "operator" if any(task.get(name) is not None for name in OPERATORS) else "python"


def withdraw_added(state: RunState, reset: Iterable[str]) -> list[str]:
    """Remove the tasks that the tasks of `reset` added: those are done again and will add them again.

    The rest of `reset`.
    """
    again, withdrawn = set(reset), set[str]()
    while more := {
        n for n, added in state.added.items() if added.by in again | withdrawn and n not in withdrawn
    }:
        withdrawn |= more
    for name in withdrawn:
        del state.added[name]
        state.withdrawn[name] = state.tasks.pop(name)
    return [name for name in reset if name not in withdrawn]
