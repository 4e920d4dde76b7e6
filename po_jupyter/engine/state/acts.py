"""Who did what with a run: noted in its state as its events are folded."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from po_jupyter.engine.state.run_state import RunState, TaskState

_KEPT = 5  # acts of a run
RunRule = Callable[[RunState, Any, str, int, Callable[[str], TaskState]], None]


def noting(act: str, rule: RunRule) -> RunRule:
    """The rule, which notes besides who did `act`, where the event says so. What goes on by itself is no act: a
    run that goes on behind a gate does that because of a decision."""

    @wraps(rule)
    def noted(s: RunState, data: Any, at: str, offset: int, task_of: Callable[[str], TaskState]) -> None:
        rule(s, data, at, offset, task_of)
        if data.get("by") and (act != "resumed" or "reset" in data):
            s.acts = (*s.acts, {"act": act, "by": data["by"], "at": at})[-_KEPT:]

    return noted
