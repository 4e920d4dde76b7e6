"""What a resume makes pending again: a pure function of the definition and the state."""

from __future__ import annotations

from typing import NamedTuple

from po_jupyter.engine.state import RunState
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.pipeline import Pipeline
from po_jupyter.model.violations import did_you_mean


class Plan(NamedTuple):
    """`reset` tasks are pending again; of those in `clear` the row outcomes are void too; the gates of `ask`
    open again."""

    reset: tuple[str, ...]
    clear: tuple[str, ...]
    ask: tuple[str, ...] = ()


def plan(
    pipeline: Pipeline, state: RunState, *, from_task: str | None = None, only_failed: bool = False
) -> Plan:
    """What to do again. Raises Conflict when the run's state does not allow it, NotFound for an unknown
    task."""
    short = state.run[-6:]
    names = [t.name for t in pipeline.tasks]
    if from_task is not None and from_task not in names:
        raise NotFound(f"run {short} has no task {from_task!r}{did_you_mean(from_task, names)}")
    if state.state in ("pending", "running"):
        raise Conflict(f"run {short} has not ended, it is {state.state}", hint=f"Watch it: %po show {short}")
    if state.state == "waiting":
        raise Conflict(f"run {short} waits for a decision", hint=f"%po approve {short}, or %po reject {short}")
    if state.state == "done" and not only_failed:
        raise Conflict(
            f"run {short} is done, there is nothing to resume",
            hint="Failed rows of a map: resume with only_failed. All of it again: start a new run.",
        )
    again = {n for n in names if state.tasks[n].state in ("failed", "cancelled")}
    clear: set[str] = set()
    if only_failed:
        rows = {n for n in names if (items := state.tasks[n].items) is not None and items.failed}
        if not rows and not again:
            raise Conflict(f"run {short} has no failed rows")
        again |= rows
        clear = {n for n in names if n not in rows and pipeline.upstream_of(n) & rows}
    if from_task is not None:
        clear |= {from_task} | {n for n in names if from_task in pipeline.upstream_of(n)}
    again |= clear
    # A rejected gate is asked again, unless its task itself is done again: what was paid for is not redone
    # (P12).
    ask = tuple(n for n in names if state.tasks[n].gate == "rejected" and n not in again)
    return Plan(tuple(n for n in names if n in again), tuple(n for n in names if n in clear), ask)
