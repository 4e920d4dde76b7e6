"""Decisions of a run: the next commands, a pure function of its definition and state. No clock, disk or socket.

A local and a distributed worker call the same `decide`; after a crash it is called on the folded state and decides
the same again, which is the whole of recovery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.view import ENDED, RunStatus
from po_jupyter.model.values.json import JsonObject


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
    error: JsonObject | None = None
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

    starts = _starts(pipeline, state, running)
    if starts or running:
        return starts
    return [_end(state)]


def _starts(pipeline: Pipeline, state: RunState, running: frozenset[str]) -> list[Command]:
    """The tasks to start: all that they need is met, and they are not executed yet."""
    starts: list[Command] = []
    needs, tasks = effective_pipeline(pipeline, state).needs, state.tasks
    for name, needed in needs.items():
        if needed and tasks[needed[-1]].state in ("pending", "running"):
            continue  # as nearly all tasks of a long chain: found with one look
        task = tasks[name]
        if task.state not in ("pending", "running") or name in running:
            continue
        if state.only is not None and name != state.only:
            continue
        if _is_ready(needs, state, name):
            attempt = task.attempt if task.state == "running" else task.attempt + 1
            starts.append(Start(name, attempt, task.delay))
    return starts


def goes_on(pipeline: Pipeline, state: RunState, done: str) -> bool:
    """Whether a task of the run can start for sure once `done`, the only one that is executed, is done without a gate;
    False where only `decide` knows. It saves most tasks of a chain the state that they would make."""
    if state.only is not None or state.cancel_requested or state.state in ENDED:
        return False
    tasks = state.tasks
    if any(task.gate is not None or task.state in ("failed", "cancelled") for task in tasks.values()):
        return False
    for name, needed in effective_pipeline(pipeline, state).needs.items():
        if done in needed and tasks[name].state == "pending":
            return all(need == done or tasks[need].state == "done" for need in needed)
    return False


def _end(state: RunState) -> End:
    """The end, or the pause, of a run in which nothing runs and nothing can be started."""
    gate = next((t for t in state.tasks.values() if t.gate == "open"), None)
    if gate is not None:
        return End("waiting", task=gate.name)
    failed = next((t for t in state.tasks.values() if t.state == "failed"), None)
    if failed is not None:
        return End("failed", failed.error, failed.name)
    remaining = [t for t in state.tasks.values() if t.state in ("pending", "cancelled")]
    # Without `only`: rows of a map were asked for again, in a run in which other tasks had been cancelled.
    if remaining and (state.only is not None or any(t.state == "cancelled" for t in remaining)):
        return End("cancelled", _stopped(state.only, remaining))
    return End("done")


def _stopped(only: str | None, remaining: list[TaskState]) -> JsonObject:
    """The error of a run that stopped after the one task, or the rows, that it was to do again."""
    names = ", ".join(t.name for t in remaining[:5]) + (", ..." if len(remaining) > 5 else "")
    after = "the rows that were asked for again" if only is None else f"task {only!r}, as asked"
    return {
        "code": "stopped",
        "message": f"stopped after {after}; not run: {names}",
        "hint": "Resume the run to go on with them.",
        "details": {} if only is None else {"task": only},
    }


def _is_ready(needs: Mapping[str, tuple[str, ...]], state: RunState, name: str) -> bool:
    """True when all that `name` needs is met: done and no gate behind it closed.

    A skipped task needs nothing itself, but a task that waits for it still waits for what came before it.
    """
    todo = needs[name]
    visited: set[str] = set()
    while todo:
        skipped: list[str] = []
        for need in todo:
            task = state.tasks[need]
            if task.state == "skipped":
                if need not in visited:
                    visited.add(need)
                    skipped.append(need)
            elif task.state != "done" or task.gate not in (None, "approved"):
                return False
        todo = tuple(n for name in skipped for n in needs[name])
    return True
