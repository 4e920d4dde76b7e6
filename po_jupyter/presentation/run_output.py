"""A run as the output of a notebook's cell: a bundle of MIME types, each true as far as it goes when it is read later.

`application/vnd.po-jupyter.run+json` is drawn by JupyterLab's renderer, which asks the server how the run stands now;
its `view` is for when there is no server, or the notebook is not trusted. HTML and text are for all other readers of
the file. Each says of when it is. Pure: the time comes in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeAlias

from po_jupyter.model.run.scores import ScoresOfTask
from po_jupyter.model.run.view import RunView, TaskView
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.presentation.format import user_traceback
from po_jupyter.presentation.run_view import Picture, shown_tasks, to_html, to_text
from po_jupyter.presentation.scores import score_result
from po_jupyter.presentation.terminal_text import plain

RUN_MIME = "application/vnd.po-jupyter.run+json"
MOST_BYTES = 16 * 1024  # of a snapshot: a notebook with fifty runs stays a small file
RESULT_ROWS = 3  # rows of a map whose outputs a finished run shows
_VERSION = 1
_BASE = "po/api/v1/"  # below the URL of the Jupyter server, which differs for each who opens the file
_DEPTH, _KEYS = 3, 12  # of what a view holds as free JSON (a gate, warnings)
_RESULT = 300  # characters of an output that a finished run shows

Results: TypeAlias = Sequence[tuple[str, str]]  # (label, text)


@dataclass(frozen=True, slots=True)
class _Limits:
    """How much of a view a snapshot keeps: characters of a text, of a traceback, and entries of a list."""

    text: int
    traceback: int
    entries: int


# From roomy to bare; the first that fits is taken. The last fits whatever comes.
_LIMITS = (
    _Limits(600, 1800, 30),
    _Limits(300, 600, 30),
    _Limits(120, 0, 20),
    _Limits(40, 0, 8),
    _Limits(16, 0, 3),
)


def run_output(run: RunView, now: float, results: Results = (), notice: str = "") -> JsonObject:
    """The bundle: content by MIME type. `now` is in seconds since 1970; `notice` is a line about the view itself."""
    picture = Picture(run, now, notice=notice, results=results, kept=True)
    return {
        RUN_MIME: snapshot(run, now, results),
        "text/html": to_html(picture),
        "text/plain": to_text(picture),
    }


def no_output(run: RunView) -> JsonObject:
    """The content for Lab's renderer where it draws nothing: what an output adds for frontends without one."""
    return {"version": _VERSION, "run": run.id, "base": _BASE, "view": None}


def snapshot(run: RunView, now: float, results: Results = ()) -> JsonObject:
    """`{version, run, base, view, hidden, results, at}`, of at most `MOST_BYTES` as JSON.

    `view` is the run as HTTP answers it, without the seed and the owner, with the tasks that matter now and the
    beginnings of long texts; `hidden` counts the other tasks by state.
    """
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for limits in _LIMITS:
        shown = [run.tasks[i] for i in shown_tasks(run.tasks)][: limits.entries]
        names = {task.name for task in shown}
        content: JsonObject = {
            "version": _VERSION,
            "run": run.id,
            "base": _BASE,
            "view": _view(run, shown, limits),
            "hidden": dict(Counter(task.state for task in run.tasks if task.name not in names)),
            "results": [[_cut(label, limits.text), _cut(text, limits.text)] for label, text in results],
            "at": at,
        }
        if len(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")) <= MOST_BYTES:
            break
    return content


def result_task(run: RunView) -> TaskView | None:
    """The task whose output a finished run shows: the last one that is done."""
    done = [task for task in run.tasks if task.state == "done"] if run.state == "done" else []
    return done[-1] if done else None


def row_results(rows: Sequence[Mapping[str, JsonValue]]) -> list[tuple[str, str]]:
    """The beginnings of rows of a map, as HTTP answers them."""
    return _without_empty((f"row {row['index']}", _beginning(row.get("output"))) for row in rows[:RESULT_ROWS])


def score_results(scores: ScoresOfTask) -> list[tuple[str, str]]:
    """The scores of a task, a line each."""
    return [score_result(score, scores["rows"]) for score in scores["scores"]]


def output_result(task: str, output: JsonValue) -> list[tuple[str, str]]:
    """The beginning of a task's output."""
    return _without_empty([(task, _beginning(output))])


def _without_empty(results: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(label, text) for label, text in results if text]


def _beginning(value: JsonValue) -> str:
    """The first characters of an output, of which not more is made text than is shown."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = value.strip()
    else:
        pieces = json.JSONEncoder(ensure_ascii=False).iterencode(value)
        text = "".join(islice(pieces, _RESULT + 1))  # no piece is empty
    return text if len(text) <= _RESULT else text[:_RESULT].rstrip() + "…"


def _view(run: RunView, tasks: Sequence[TaskView], limits: _Limits) -> JsonObject:
    """The run as JSON, within the limits."""
    values = run.model_dump(mode="json", exclude={"seed", "owner", "tasks", "error"})
    view = {key: _short(value, limits) for key, value in values.items()}
    return {
        **view,
        "id": run.id,
        "error": _error(run.error, limits),
        "tasks": [
            {
                **{k: _short(v, limits) for k, v in task.model_dump(mode="json", exclude={"error"}).items()},
                "error": _error(task.error, limits),
            }
            for task in tasks
        ],
    }


def _error(error: JsonObject | None, limits: _Limits) -> JsonObject | None:
    """What a card shows of an error."""
    if error is None:
        return None
    parts = {key: _cut(str(error.get(key) or ""), limits.text) for key in ("code", "message", "hint")}
    traceback = user_traceback(error)[-limits.traceback :] if limits.traceback else ""
    return {**parts, "details": {"traceback": plain(traceback)} if traceback else {}}


def _short(value: JsonValue, limits: _Limits, depth: int = 0) -> JsonValue:
    """The value with the beginnings of its texts and lists; what is deeper than a view goes is left out."""
    if isinstance(value, str):
        return _cut(value, limits.text)
    if depth >= _DEPTH:
        return None
    if isinstance(value, Mapping):
        some = islice(value.items(), _KEYS)
        return {_cut(str(k), limits.text): _short(v, limits, depth + 1) for k, v in some}
    if isinstance(value, list | tuple):
        return [_short(part, limits, depth + 1) for part in value[: limits.entries]]
    return value


def _cut(text: str, most: int) -> str:
    text = plain(text)
    return text if len(text) <= most else text[:most] + "…"
