"""A state as JSON and back: the same state, whatever the log."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine import state as room
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import AddedTask, RunState, TaskState
from po_jupyter.engine.state.state_json import FOLD_VERSION, state_from_json, state_to_json
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts

# What the fold is made of, by its version. When this fails: does the fold give another state for a log of before, or
# has the state another field? Then raise FOLD_VERSION. In any case write down the new digest.
DIGESTS = {7: "afc5e6a878845387"}


def digest() -> str:
    folder = Path(room.__file__).parent
    trees = [
        ast.parse((folder / name).read_text())
        for name in ("fold.py", "run_state.py", "added_tasks.py", "child_runs.py", "moved_runs.py", "acts.py")
    ]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""  # docstrings
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()[:16]


def test_the_version_of_the_fold_is_raised_with_it() -> None:
    assert DIGESTS.get(FOLD_VERSION) == digest()


def whole() -> RunState:
    """A state in which every field is something."""
    task = TaskState(
        "a", "python", "failed", "parsing", 3, 1, "t1", "t2", Usage(input_tokens=5, cost=None), {"code": "x"}, [3, 0],
        ItemCounts(total=9, done=2, kept=1, made=4, of=9), "rows", "waiting",
        {"run": "g", "task": "x", "message": "?", "artifacts": []},
        True, 1.5, "open", {"message": "m"}, ({"path": "p"},), 7,
        "why", "b", {"token": {"id": 1}}, {"s": {"run": "s", "shard": 1, "rows": "0-4"}},
        {"threshold": 0.8, "target": 0.9, "model": "m", "sampled": 9, "sure": 5, "agreeing": 5, "interval": [0.9, 1.0]},
    )  # fmt: skip
    return RunState(
        "r", "n", "p", "1", "me", "failed", "c", "u", {"a": task}, {"code": "y"}, {"usd": 1}, {"run": {"scope": "run"}},
        "req", True, 2, 99, {"a": AddedTask({"name": "a"}, "b", "c")}, {"w": TaskState("w")}, "a",
        {"run": "o", "from_task": "a"}, {"run": "p", "task": "m", "shard": 2},
        ({"act": "started", "by": "me", "at": "t"},), {"to": "shared"},
    )  # fmt: skip


def test_every_field_comes_back() -> None:
    state = whole()
    for each in (state, state.tasks["a"]):
        empty: Any = type(each)("r" if each is state else "a")
        same = [name for name in each.__slots__ if getattr(each, name) == getattr(empty, name)]
        assert same in (["run"], ["name"]), "a new field: give it a value in `whole`"
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state


def test_a_state_at_its_beginning_is_small() -> None:
    assert state_to_json(RunState("r")) == {"run": "r"}
    assert state_from_json({"run": "r"}) == RunState("r")


def test_defaults_are_not_shared() -> None:
    one, other = state_from_json({"run": "a"}), state_from_json({"run": "b"})
    one.budget["usd"] = 1
    assert (other.budget, RunState("c").budget, state_to_json(other)) == ({}, {}, {"run": "b"})


def test_a_fold_from_the_middle_is_the_fold_of_the_whole() -> None:
    created = {"name": "n", "pipeline": "p", "version": "1", "tasks": [{"name": "m", "kind": "prompt"}]}
    progress = {"done": 2, "failed": 1, "in_flight": 1, "usage": {"cost": 0.5, "calls": 1}}
    events: list[Any] = [
        {"at": "1", "type": "run.created", "data": created},
        {"at": "2", "type": "run.started", "data": {}},
        {"at": "3", "type": "task.started", "task": "m", "data": {"attempt": 1}},
        {"at": "4", "type": "map.started", "task": "m", "data": {"total": 5, "of": "rows"}},
        {"at": "5", "type": "map.progress", "task": "m", "data": progress},
        {"at": "6", "type": "tasks.added", "task": "m", "data": {"tasks": [{"name": "x", "prompt": "y"}]}},
        {"at": "7", "type": "batch.prepared", "task": "m", "data": {"token": "t"}},
        {"at": "8", "type": "task.done", "task": "m", "data": {"output": [1, 0], "artifacts": [{"path": "p"}]}},
        {"at": "9", "type": "gate.opened", "task": "x", "data": {"message": "m", "artifacts": []}},
        {"at": "10", "type": "run.waiting", "data": {}},
        {"at": "11", "type": "gate.decided", "task": "x", "data": {"decision": "approve"}},
        {"at": "12", "type": "run.resumed", "data": {"reset": ["m"], "clear": ["m"], "by": "me"}},
        {"at": "13", "type": "run.done", "data": {}},
    ]  # fmt: skip
    numbered: list[Any] = [{**event, "offset": i} for i, event in enumerate(events, 1)]
    expected = fold(RunState("r"), numbered)
    for cut in range(len(numbered)):
        half = state_from_json(json.loads(json.dumps(state_to_json(fold(RunState("r"), numbered[:cut])))))
        assert fold(half, numbered[cut:]) == expected


@pytest.mark.parametrize(
    "value", [{}, {"run": "r", "tasks": 5}, {"run": "r", "tasks": [{}]}, {"run": "r", "added": [1]}]
)
def test_what_is_no_state_is_refused(value: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        state_from_json(value)
