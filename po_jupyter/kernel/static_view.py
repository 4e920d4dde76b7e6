"""Static tables of a cell, as HTML and text: runs, a pipeline's tasks, failed rows, a task that was tried."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import ASKS_MODEL
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.run_view import table_html, table_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.client.http.payloads import RowJson
    from po_jupyter.kernel.try_task import Trial

Bundle: TypeAlias = dict[str, str]  # text by MIME type


def show(shell: InteractiveShell, bundle: Bundle) -> None:
    """Display a bundle in the running cell."""
    shell.display_pub.publish(bundle)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Bundle:
    return {"text/plain": table_text(columns, rows, caption), "text/html": table_html(columns, rows, caption)}


def runs(views: Sequence[RunView], now: float | None = None) -> Bundle:
    """A table of runs."""
    if not views:
        text = "no runs yet: %%po_pipeline NAME --run starts one"
        return {"text/plain": text, "text/html": table_html([], [], text)}
    moment = time.time() if now is None else now
    rows = []
    for run in views:
        done = sum(t.state in ("done", "skipped") for t in run.tasks)
        elapsed = (
            fmt.seconds_between(run.created_at, run.updated_at if run.state in ENDED else None, moment) or 0.0
        )
        rows.append(
            [
                short_id(run.id),
                f"{run.pipeline} {run.version}",
                f"{fmt.state_icon(fmt.shown_run_state(run))} {run.state}",
                f"{done}/{len(run.tasks)}",
                _when(run.created_at),
                fmt.duration(elapsed),
                fmt.tokens(run.usage.input_tokens + run.usage.output_tokens),
                fmt.money(run.usage.cost),
            ]
        )
    return _table(["run", "pipeline", "state", "tasks", "started", "time", "tokens", "cost"], rows)


def _when(iso: str) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(fmt.timestamp(iso)))


def pipeline(definition: Pipeline, registered: bool) -> Bundle:
    """A table of the tasks of a defined pipeline; `registered`: an orchestrator checked it and knows it."""
    rows = []
    for task in definition.tasks:
        needs = definition.needs_of(task.name)
        rows.append([task.name, task.kind, ", ".join(needs) or "—", _description(definition, task)])
    count = len(definition.tasks)
    status = "registered" if registered else "defined here; no orchestrator is running"
    caption = (
        f"{definition.name} {definition.version} · {count} {'task' if count == 1 else 'tasks'} · {status}"
        f" · %po run {definition.name} starts it"
    )
    return _table(["task", "kind", "after", ""], rows, caption)


def _description(definition: Pipeline, task: Task) -> str:
    parts = []
    if task.kind in ASKS_MODEL:
        parts.append(" → ".join(llm.model or "default model" for llm in definition.llms_of(task)))
        if task.variants is not None:
            parts.append(f"{len(task.variants)} variants")
        if task.votes is not None:
            parts.append(f"{task.votes.n} votes")
    elif task.kind == "pipeline":
        named = task.pipeline if isinstance(task.pipeline, str) else (task.pipeline or {}).get("name")
        parts.append(f"pipeline {named}")
    elif task.source is None:
        parts.append(f"module {task.task or task.name}")
    if task.for_each:
        parts.append(f"for each of {task.for_each}")
    if task.output is not None:
        fields = list((task.output.get("properties") or {}).keys())
        parts.append(f"answers {', '.join(fields)}" if fields else "answers JSON")
    if task.gate is not None:
        parts.append("then waits for a decision")
    return " · ".join(parts)


def failures(run: RunView, rows: Sequence[tuple[str, RowJson]], most: int) -> Bundle:
    """A table of what failed: tasks without rows, and at most `most` of the (task, row) pairs of `rows`.

    Which, in which stage, why, and the lines of the person's own Python that raised it.
    """
    lines = [
        _failure(task.name, "", task.error)
        for task in run.tasks
        if task.error is not None and task.state == "failed" and not (task.items and task.items.failed)
    ]
    tasks = len(lines)
    if not rows and not tasks:
        text = f"nothing failed in run {short_id(run.id)}"
        return {"text/plain": text, "text/html": table_html([], [], text)}
    lines += [_failure(task, f"row {row['index']}", row["error"]) for task, row in rows[:most]]
    more = f", the first {most} of them" if len(rows) > most else ""
    counts = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in ((tasks, "task"), (len(rows), "row")) if n]
    steps = [s for s in fmt.next_steps(run) if not s.endswith("--failed") or s.endswith("--only-failed")]
    caption = f"run {short_id(run.id)}: {' and '.join(counts)} failed{more}" + "".join(f" · {s}" for s in steps)
    return _table(["task", "row", "stage", "why"], lines, caption)


def _failure(task: str, row: str, error: JsonObject | None) -> list[str]:
    error = error or {}
    stage = (error.get("details") or {}).get("stage") or ""
    why = (str(error.get("message", "")), str(error.get("hint") or ""), fmt.user_traceback(error))
    return [task, row, str(stage), "\n".join(filter(None, why))]


def trial(name: str, trial: Trial) -> Bundle:
    """A table of the stages of a tried task and their outputs."""
    rows = [[step.stage, fmt.elapsed(step.seconds), _output_text(step.output)] for step in trial.steps]
    caption = f"task {name} tried here" + (f" · {trial.note}" if trial.note else "")
    return _table(["stage", "time", "output"], rows, caption)


def _output_text(value: object, most: int = 500) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= most else text[:most] + "…"
