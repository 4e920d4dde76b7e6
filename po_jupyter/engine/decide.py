"""What happens next in a run: a pure function of its definition and its state. No clock, no disk, no socket.

A local and a distributed worker call the same `decide`; after a crash it is called on the folded state and says
the same again, which is the whole of recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from po_jupyter.engine.state import RunState
from po_jupyter.model.pipeline import Pipeline
from po_jupyter.model.run import ENDED, RunStatus


@dataclass(frozen=True, slots=True)
class Start:
    """Execute the task. A crash keeps the attempt, a retry or a resume is a new one. `delay` in seconds."""

    task: str
    attempt: int
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop executing the task; what it finished is kept."""

    task: str


@dataclass(frozen=True, slots=True)
class End:
    """The run leaves the worker in this state (`waiting` for a gate, or an end)."""

    state: RunStatus
    error: dict[str, Any] | None = None
    task: str | None = None


Command = Start | Stop | End


def decide(pipeline: Pipeline, state: RunState, running: frozenset[str] = frozenset()) -> list[Command]:
    """The next steps of a run. `running` are the tasks that this worker executes now.

    An empty list means: wait for one of `running`, or (when the run has ended) nothing is left to do.
    """
    if state.state in ENDED:
        return [Stop(name) for name in sorted(running)]
    rejected = next((t for t in state.tasks.values() if t.gate == "rejected"), None)
    if state.cancel_requested or rejected is not None:
        if running:
            return [Stop(name) for name in sorted(running)]
        if rejected is None:
            return [End("cancelled")]
        note = (rejected.gate_info or {}).get("note") or ""
        message = f"the gate of task {rejected.name!r} was rejected" + (f": {note}" if note else "")
        return [End("cancelled", {"code": "gate_rejected", "message": message, "hint": "", "details": {}})]

    starts: list[Command] = []
    needs = pipeline.needs
    for name in needs:
        now = state.tasks[name]
        if now.state not in ("pending", "running") or name in running:
            continue
        for need in needs[name]:
            if not _open(state, need):
                break
        else:
            attempt = now.attempt if now.state == "running" else now.attempt + 1
            starts.append(Start(name, attempt, now.delay))
    if starts or running:
        return starts

    gate = next((t for t in state.tasks.values() if t.gate == "open"), None)
    if gate is not None:
        return [End("waiting", task=gate.name)]
    failed = next((t for t in state.tasks.values() if t.state == "failed"), None)
    if failed is not None:
        return [End("failed", failed.error, failed.name)]
    return [End("done")]


def _open(state: RunState, need: str) -> bool:
    """A need is met when its task is done or skipped and no gate behind it is closed."""
    task = state.tasks[need]
    return task.state in ("done", "skipped") and task.gate in (None, "approved")
