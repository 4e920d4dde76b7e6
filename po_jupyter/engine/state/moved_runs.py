"""What the events of a run that is handed over to another place make of its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.model.run.view import RunStatus

if TYPE_CHECKING:
    from po_jupyter.model.run.move_events import RunMovedData, RunMoveEndedData, RunReceivedData

TaskOf = Callable[[str], TaskState]


def run_moved(s: RunState, data: RunMovedData, at: str, offset: int, task_of: TaskOf) -> None:
    """What is here is a tombstone from now on."""
    s.state = "moved"
    s.moved = {**{name: data[name] for name in ("to", "group", "by")}, "accepted": False}


def run_move_accepted(s: RunState, data: RunMoveEndedData, at: str, offset: int, task_of: TaskOf) -> None:
    """The other place has it."""
    if s.moved is not None:
        s.moved = {**s.moved, "accepted": True}


def run_move_refused(s: RunState, data: RunMoveEndedData, at: str, offset: int, task_of: TaskOf) -> None:
    """It is here as it was."""
    s.state, s.moved = cast("RunStatus", data["state"]), None


def run_received(s: RunState, data: RunReceivedData, at: str, offset: int, task_of: TaskOf) -> None:
    """It is another owner's from here on."""
    s.owner = data["owner"]
