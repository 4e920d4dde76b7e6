"""Rows of maps that a person asks for again: which they are, checked against what the run's log has of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.engine.state.resume import ResumePlan, kept_tasks, rows_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, InvalidInput
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.event_data import RowsAgain
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.row_spans import format_spans
from po_jupyter.store.protocol import LogStore

MOST_ROWS = 10_000  # of one resume: they are one event of the log
_NAMED = 5  # rows that a message lists

RowSelection = Mapping[str, Sequence[int]]  # row indexes by map


def check_selection(rows: RowSelection, from_task: str | None, only_failed: bool) -> None:
    """Raises InvalidInput for a selection that is none, is too large, or comes with another way to resume."""
    if from_task is not None or only_failed:
        other = "`from_task`" if from_task is not None else "`only_failed`"
        raise InvalidInput(
            f"`rows` says what is asked for again, and so does {other}", hint="Give one of the two."
        )
    count = sum(map(len, rows.values()))
    if not rows or not all(rows.values()):
        which = next((f" of task {task!r:.80}" for task in rows), "")
        raise InvalidInput(f"`rows` names no row{which}", hint='Rows by task: {"label": [3, 17]}.')
    if count > MOST_ROWS:
        raise InvalidInput(
            f"`rows` names {count:,} rows; {MOST_ROWS:,} can be asked for again at once",
            hint="All that failed: resume with `only_failed`.",
        )


def plan_rows(
    store: LogStore, pipeline: Pipeline, state: RunState, rows: RowSelection, *, include_done: bool
) -> tuple[ResumePlan, dict[str, RowsAgain]]:
    """The plan of a resume that asks for these rows again, and the rows as the event has them. Blocks on the store.

    Raises NotFound for an unknown task, InvalidInput for a task without rows and a row that it does not have, Conflict
    for a row that is done, unless `include_done` says that it is meant, and when the run's state does not allow it.
    """
    plan = rows_plan(pipeline, state, rows)
    interrupted = kept_tasks(state, plan)
    history = read_history(store, state.run)
    again: dict[str, RowsAgain] = {}
    for task, indexes in rows.items():
        chosen = sorted(set(indexes))
        check_indexes(state, task, chosen)
        table = history.rows.get(task, RowTable())
        done = [index for index in chosen if index in table and table[index].ok]
        if done:
            _check_done(state, task, done, include_done=include_done, interrupted=task in interrupted)
        failed = sum(1 for index in chosen if index in table) - len(done)
        again[task] = {"rows": format_spans(chosen), "done": len(done), "failed": failed}
    return plan, again


def check_indexes(state: RunState, task: str, chosen: Sequence[int]) -> None:
    """Check that a task has these rows. Raises InvalidInput."""
    short, items = short_id(state.run), state.tasks[task].items
    if items is None:
        raise InvalidInput(
            f"task {task!r} of run {short} has no rows: it is no map, or has not come so far",
            hint=f"The whole task again: po restart {short} --task {task}",
        )
    outside = [index for index in chosen if not 0 <= index < items.total]
    if outside:
        raise InvalidInput(
            f"task {task!r} of run {short} has {items.total:,} rows, and none is {_listed(outside)}",
            hint=f"Rows are numbered from 0: po rows {short} --task {task}",
        )


def _check_done(
    state: RunState, task: str, done: Sequence[int], *, include_done: bool, interrupted: bool
) -> None:
    short = short_id(state.run)
    subject = f"row {done[0]}" if len(done) == 1 else f"rows {_listed(done)}"
    verb = "is" if len(done) == 1 else "are"
    if not include_done:
        raise Conflict(
            f"{subject} of task {task!r} of run {short} {verb} done",
            hint="To ask again all the same, and pay again: `include_done` (po resume --include-done).",
        )
    if interrupted:  # its next attempt goes on with the recorded answers, and these rows would get theirs again
        raise Conflict(
            f"{subject} of task {task!r} of run {short} {verb} done, and the task was interrupted",
            hint=f"Let it come to its end first: po resume {short}",
        )


def _listed(indexes: Iterable[int]) -> str:
    numbers = list(indexes)
    shown = ", ".join(str(number)[:20] for number in numbers[:_NAMED])
    return shown if len(numbers) <= _NAMED else f"{shown} and {len(numbers) - _NAMED:,} more"
