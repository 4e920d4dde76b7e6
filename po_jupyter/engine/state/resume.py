"""Plans of resumes and restarts: the tasks that are pending again. Pure functions of the pipeline and the state.

The pipeline is the effective one, with tasks that tasks added. A task that is done again takes back its additions and
skips: it will make them again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import BudgetExceeded, Conflict, ModelKeyError, NotFound, RowsLeft
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import GateOpenedData
# Errors that end an attempt between two calls, through no fault of its own: its answers are those of a resume.
KEPT_FAILURES = frozenset({BudgetExceeded.code, ModelKeyError.code, RowsLeft.code})


class ResumePlan(NamedTuple):
    """Tasks of `reset` are pending again, row outcomes of `clear` are void too, gates of `reopen` open again."""

    reset: tuple[str, ...]
    clear: tuple[str, ...]
    reopen: tuple[str, ...] = ()


def resume_plan(
    pipeline: Pipeline, state: RunState, *, from_task: str | None = None, only_failed: bool = False
) -> ResumePlan:
    """The plan of a resume.

    Raises Conflict when the run's state does not allow it, NotFound for an unknown task.
    """
    short = short_id(state.run)
    names = _names(pipeline, state, from_task)
    if state.state == "done" and not only_failed:
        raise Conflict(
            f"run {short} is done, there is nothing to resume",
            hint=f"Failed rows of a map: po resume {short} --only-failed. All of it again: po restart {short}",
        )
    again = {n for n in names if state.tasks[n].state in ("failed", "cancelled")}
    clear: set[str] = set()
    if only_failed:
        rows = {n for n in names if state.tasks[n].failed_rows}
        if not rows and not again:
            raise Conflict(f"run {short} has no failed rows")
        again |= rows
        clear = {n for n in names if n not in rows and pipeline.upstream_of(n) & rows}
    if from_task is not None:
        clear |= {from_task} | _after(pipeline, names, {from_task})
    again |= clear
    directed = _added_or_skipped(pipeline, state, names, again)
    return _plan(state, names, again | directed, clear | directed)


def rows_plan(pipeline: Pipeline, state: RunState, maps: Collection[str]) -> ResumePlan:
    """The plan of a resume that asks for some rows of `maps` again: those maps and what follows them. Everything else
    stays as it is, be it done or not.

    Raises Conflict when the run's state does not allow it or one of the maps follows another, NotFound for an unknown
    task.
    """
    short = short_id(state.run)
    names = _names(pipeline, state, None)
    for name in maps:
        _names(pipeline, state, name)
        if before := sorted(pipeline.upstream_of(name) & set(maps)):
            raise Conflict(
                f"task {name!r} of run {short} follows {before[0]!r}, and is done again as a whole with its rows",
                hint=f"Name rows of {before[0]!r} alone.",
            )
    clear = _after(pipeline, names, set(maps))
    again = clear | set(maps)
    directed = _added_or_skipped(pipeline, state, names, again)
    return _plan(state, names, again | directed, clear | directed)


def restart_plan(
    pipeline: Pipeline, state: RunState, *, task: str | None = None, only: bool = False
) -> ResumePlan:
    """The plan of a restart: everything, `task` and all that follows it, or `task` only.

    Raises Conflict when the run has not ended, or when a task that the only task needs is not done; NotFound.
    """
    short = short_id(state.run)
    names = _names(pipeline, state, task)
    if task is None:
        again = set(names)
    elif not only:
        again = {task} | _after(pipeline, names, {task})
        again |= {n for n in names if state.tasks[n].state in ("failed", "cancelled")}
        again |= _added_or_skipped(pipeline, state, names, again)
    else:
        missing = [
            n for n in sorted(pipeline.upstream_of(task)) if state.tasks[n].state not in ("done", "skipped")
        ]
        if missing:
            raise Conflict(
                f"task {task!r} of run {short} needs {missing[0]!r}, which is {state.tasks[missing[0]].state}",
                hint=f"Restart from there: po restart {short} --task {missing[0]}",
            )
        again = {task} | {n for n in names if state.tasks[n].skipped_by == task}
        while more := {n for n, added in state.added.items() if added.by in again} - again:
            again |= more
    return _plan(state, names, again, again)


def keeps_unchanged(data: Mapping[str, Any]) -> bool:
    """Whether of the tasks that a `run.resumed` clears what did not change is not paid again: they follow rows that are
    asked for again, and nobody named them. After a `from_task` they are to be done anew."""
    return bool(data.get("rows")) or (bool(data.get("only_failed")) and not data.get("from_task"))


def kept_tasks(state: RunState, todo: ResumePlan) -> list[str]:
    """The tasks of a resume whose next attempt replays the recorded answers of the last one: it was interrupted, and
    did not fail."""
    return [name for name in todo.reset if name not in todo.clear and _interrupted(state, name)]


def _interrupted(state: RunState, name: str) -> bool:
    """Whether the last attempt of a task was ended from outside: by a cancel, a budget, a key, the deaths of its
    workers."""
    task = state.tasks[name]
    if task.state == "cancelled":
        return task.attempt > 0
    error = task.error or {}
    if state.state == "dead" and error == state.error:
        return True
    return task.state == "failed" and error.get("code") in KEPT_FAILURES


def gate_opened_data(state: RunState, task: str) -> GateOpenedData:
    """The data of the `gate.opened` that opens the task's gate again."""
    info = state.tasks[task].gate_info or {}
    return {"message": info.get("message", ""), "artifacts": info.get("artifacts", [])}


def _names(pipeline: Pipeline, state: RunState, task: str | None) -> list[str]:
    short = short_id(state.run)
    names = [t.name for t in pipeline.tasks]
    if task is not None and task not in names:
        raise NotFound(f"run {short} has no task {task!r}{did_you_mean(task, names)}")
    if state.state in ("pending", "running"):
        raise Conflict(f"run {short} has not ended, it is {state.state}", hint=f"Watch it: %po show {short}")
    if state.state == "moved":
        raise Conflict(
            f"run {short} was moved, and goes on elsewhere: {(state.moved or {}).get('to')}",
            hint=f"po show {short} --on shared, po resume {short} --on shared",
        )
    if state.state == "waiting":
        raise Conflict(f"run {short} waits for a decision", hint=f"%po approve {short}, or %po reject {short}")
    return names


def _after(pipeline: Pipeline, names: Sequence[str], tasks: set[str]) -> set[str]:
    return {n for n in names if pipeline.upstream_of(n) & tasks}


def _added_or_skipped(pipeline: Pipeline, state: RunState, names: Sequence[str], again: set[str]) -> set[str]:
    """The tasks that the tasks of `again` added or skipped, and all that follow them."""
    affected: set[str] = set()
    while True:
        doing = again | affected
        more = {n for n, added in state.added.items() if added.by in doing}
        more |= {n for n in names if state.tasks[n].skipped_by in doing}
        more |= _after(pipeline, names, more) if more else set()
        if more <= doing:
            return affected
        affected |= more - again


def _plan(state: RunState, names: Sequence[str], again: set[str], clear: set[str]) -> ResumePlan:
    # A rejected gate opens again, unless its task itself is done again: what was paid for is not redone (P12).
    reopen = tuple(n for n in names if state.tasks[n].gate == "rejected" and n not in again)
    return ResumePlan(tuple(n for n in names if n in again), tuple(n for n in names if n in clear), reopen)
