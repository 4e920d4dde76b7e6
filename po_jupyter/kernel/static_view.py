"""Static things that a cell shows: tables of runs, of a pipeline's tasks, of failed rows; HTML and text."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from po_jupyter.kernel.run_view import table_html, table_text
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.kernel.try_task import Trial

Bundle = dict[str, str]


def show(shell: Any, bundle: Bundle) -> None:
    """Display a bundle in the running cell."""
    shell.display_pub.publish(bundle)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Bundle:
    return {"text/plain": table_text(columns, rows, caption), "text/html": table_html(columns, rows, caption)}


def runs(views: Sequence[RunView], now: float | None = None) -> Bundle:
    """The newest first."""
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
                f"{fmt.state_icon(run.state)} {run.state}",
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
    """The tasks of a pipeline that was defined; `registered`: an orchestrator checked it and knows it."""
    rows = []
    for task in definition.tasks:
        needs = definition.needs_of(task.name)
        rows.append([task.name, task.kind, ", ".join(needs) or "—", _what(definition, task)])
    count = len(definition.tasks)
    how = "registered" if registered else "defined here; no orchestrator is running"
    caption = (
        f"{definition.name} {definition.version} · {count} {'task' if count == 1 else 'tasks'} · {how}"
        f" · %po run {definition.name} starts it"
    )
    return _table(["task", "kind", "after", ""], rows, caption)


def _what(definition: Pipeline, task: Task) -> str:
    parts = []
    if task.kind == "prompt":
        parts.append(definition.llm_of(task).model or "default model")
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


def failed_rows(run: RunView, rows: Sequence[tuple[str, Mapping[str, Any]]], most: int) -> Bundle:
    """Rows that failed: which, in which stage, why."""
    if not rows:
        text = f"no row of run {short_id(run.id)} failed"
        return {"text/plain": text, "text/html": table_html([], [], text)}
    lines = []
    for task, row in rows[:most]:
        error = row.get("error") or {}
        stage = (error.get("details") or {}).get("stage") or ""
        lines.append([task, f"row {row.get('index')}", str(stage), str(error.get("message", ""))])
    more = f", the first {most} of them" if len(rows) > most else ""
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    steps = [s for s in fmt.next_steps(run) if not s.endswith("--failed") or s.endswith("--only-failed")]
    caption = f"run {short_id(run.id)}: {count} failed{more}" + "".join(f" · {s}" for s in steps)
    return _table(["task", "row", "stage", "why"], lines, caption)


def trial(name: str, tried: Trial) -> Bundle:
    """What each stage of a tried task answered."""
    rows = [[step.stage, fmt.elapsed(step.seconds), _shown(step.output)] for step in tried.steps]
    caption = f"task {name} tried here" + (f" · {tried.note}" if tried.note else "")
    return _table(["stage", "time", "output"], rows, caption)


def _shown(value: Any, most: int = 500) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= most else text[:most] + "…"
