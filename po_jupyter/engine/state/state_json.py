"""The state of a run as JSON and back, so that a long log need not be folded again from its beginning. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from po_jupyter.engine.state.run_state import AddedTask, RunState, TaskState
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts
from po_jupyter.model.values.json import JsonObject

# Raise it whenever the fold gives another state for the same events, or the state has another field: what was folded
# by another version is not used then. `tests/engine/state/test_state_json.py` sees to it.
FOLD_VERSION = 7

S = TypeVar("S", TaskState, RunState)


def state_to_json(state: RunState) -> JsonObject:
    """The state; what is at its default is left out."""
    body = _to_json(state, _RUN_DEFAULTS)
    for name in ("tasks", "withdrawn"):
        tasks: Mapping[str, TaskState] = getattr(state, name)
        if tasks:
            body[name] = [_task_to_json(task) for task in tasks.values()]
    if state.added:
        body["added"] = {name: list(added) for name, added in state.added.items()}
    return body


def state_from_json(body: JsonObject) -> RunState:
    """The state that `state_to_json` described. Raises KeyError, TypeError or ValueError for anything else."""
    state = RunState(body["run"])
    for name, value in body.items():
        if name in ("tasks", "withdrawn"):
            setattr(state, name, {task["name"]: _task_from_json(task) for task in value})
        elif name == "acts":
            state.acts = tuple(value)
        elif name == "added":
            state.added = {task: AddedTask(*added) for task, added in value.items()}
        elif name in _RUN_DEFAULTS:
            setattr(state, name, value)
    return state


def _task_to_json(task: TaskState) -> JsonObject:
    body = _to_json(task, _TASK_DEFAULTS)
    body["name"] = task.name
    if task.usage != _NOTHING:
        body["usage"] = task.usage.to_json()
    if task.items is not None:
        body["items"] = dict(task.items.__dict__)
    return body


def _task_from_json(body: JsonObject) -> TaskState:
    task = TaskState(body["name"])
    for name, value in body.items():
        if name == "usage":
            task.usage = Usage.model_validate(value)
        elif name == "items":
            task.items = ItemCounts.model_validate(value)
        elif name == "artifacts":
            task.artifacts = tuple(value)
        elif name in _TASK_DEFAULTS:
            setattr(task, name, value)
    return task


def _to_json(state: S, defaults: Mapping[str, Any]) -> JsonObject:
    return {name: value for name in defaults if (value := getattr(state, name)) != defaults[name]}


def _defaults(kind: type[S], apart: frozenset[str]) -> dict[str, Any]:
    """The fields that are JSON as they are, with their defaults."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in apart:
            continue
        make: Callable[[], Any] | Any = field.default_factory
        found[field.name] = make() if make is not MISSING else field.default
    return found


_NOTHING = Usage()
_RUN_DEFAULTS = _defaults(RunState, frozenset({"tasks", "withdrawn", "added"}))
_TASK_DEFAULTS = _defaults(TaskState, frozenset({"name", "usage", "items"}))
