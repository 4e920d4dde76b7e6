"""The state that a history from elsewhere comes to; whole files are tried in `test_reception.py`."""

from __future__ import annotations

from typing import Any, cast

import pytest

from po_jupyter.errors import Forbidden, InvalidInput
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.moves.received_state import ReceivedState
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Head

PIPELINE = validate_pipeline(
    {"name": "p", "tasks": [{"name": "t", "prompt": "x", "llm": {"model": "fake:echo"}}]}
)


def state_of(*types: str, may_decide: bool = True, state: str = "done") -> ReceivedState:
    found = ReceivedState(cast(Head, {"run": "0" * 22, "state": state}), PIPELINE, may_decide=may_decide)
    at = "2026-11-27T12:00:00.000Z"
    events: list[Any] = [
        {"type": kind, "at": at, "offset": n, "data": {}, **({} if kind.startswith("run.") else {"task": "t"})}
        for n, kind in enumerate(types, 1)
    ]
    found.add(events)
    return found


def test_a_history_has_the_end_that_the_run_says() -> None:
    state_of("run.done").check(MemoryStore())
    state_of("run.started", state="waiting").check(MemoryStore())
    with pytest.raises(InvalidInput, match="says otherwise"):
        state_of("run.done", state="pending").check(MemoryStore())


def test_a_decision_is_of_somebody_who_may() -> None:
    state_of("gate.decided", "run.done").check(MemoryStore())
    with pytest.raises(Forbidden):
        state_of("gate.decided", may_decide=False)
