"""Numbers and words that every face says alike: cases for the cell (pytest) and for the panel (vitest).

`python -m tests.presentation.golden` writes them again from `po_jupyter.presentation.format`.
"""

from __future__ import annotations

import json
from typing import Any

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts, RunView, TaskView
from po_jupyter.presentation import format as fmt
from tests.support.paths import ROOT

GOLDEN = ROOT / "tests" / "data" / "presentation.json"

_NOW = "2026-11-22T12:00:41Z"
_COSTS = (
    *(
        None,
        0,
        1e-9,
        0.00004,
        0.0001,
        0.00012,
        0.00043,
        0.0031,
        0.00425,
        0.0043,
        0.0094999,
        0.0095,
        0.01,
        0.043,
    ),
    *(
        0.0625,
        0.4321,
        0.5005,
        0.9994,
        0.9995,
        0.9999,
        1,
        1.005,
        1.125,
        1.375,
        2,
        999.995,
        1234.5,
        12345.678,
        1e6,
    ),
)
_COUNTS = (
    0,
    1,
    812,
    999,
    1000,
    1049,
    1050,
    18_204,
    18_250,
    99_949,
    99_950,
    412_500,
    999_499,
    999_500,
    1_234_567,
)
_SECONDS = (
    -3,
    0,
    0.04,
    0.05,
    0.25,
    0.75,
    12.14,
    12.25,
    41.9,
    59.94,
    59.95,
    60.5,
    61,
    61.5,
    3599,
    3723,
    176_523,
)
_FRACTIONS = (-1, 0, 1e-6, 0.005, 0.015, 0.025, 0.285, 0.41, 0.5, 0.825, 0.994, 0.996, 0.999999, 1, 2)
_SUMS = ((1.2, 0, 0), (1.2, 3, 1), (None, 0, 0), (None, 1, 0), (0, 1200, 2))


def _task(name: str, state: str, **more: Any) -> TaskView:
    return TaskView.model_validate({"name": name, "state": state, "attempt": 1, **more})


def _run(state: str, *tasks: TaskView, **more: Any) -> RunView:
    return RunView.model_validate(
        {
            "id": "01jd8m3q5v7f3a9c",
            "name": "tickets",
            "pipeline": "tickets",
            "version": "1.0.0",
            "state": state,
            "created_at": "2026-11-22T12:00:00.000Z",
            "updated_at": "2026-11-22T12:00:30.500Z",
            "seed": {},
            "tasks": tasks,
            **more,
        }
    )


def _runs() -> list[RunView]:
    """A run in every state, and tasks in all of theirs."""
    times = {"started_at": "2026-11-22T12:00:02.000Z", "ended_at": "2026-11-22T12:00:14.140Z"}
    used = Usage(input_tokens=18_000, output_tokens=204, cost=0.043, calls=412, unknown=1)
    cached = Usage(calls=0, cached_calls=1, cost=0.0)
    rows = ItemCounts(total=1000, done=409, failed=3, in_flight=16)
    lost = ItemCounts(total=2, done=0, failed=2)
    failure = {
        "code": "stage_failed",
        "message": "boom",
        "hint": "look at it",
        "details": {"traceback": "File x\n  boom()\n"},
    }
    threshold = {"code": "failure_threshold", "message": "3 of 10 rows failed", "hint": ""}
    extract = _task("extract", "done", kind="python", stage="export", **times)
    running = _task(
        "classify", "running", stage="inference", started_at=times["started_at"], usage=used, items=rows
    )
    waits = _task(
        "classify",
        "running",
        attempt=2,
        started_at=times["started_at"],
        waiting="8 s for openai",
        error=failure,
    )
    failed = _task("classify", "failed", stage="inference", error=failure, attempt=3, **times)
    return [
        _run("running", extract, running, _task("publish", "pending"), usage=used, budget={"usd": 2.0}),
        _run(
            "running",
            waits,
            running,
            warnings=[{"scope": "run", "fraction": 0.825}, {"scope": "classify", "fraction": 2}],
        ),
        _run(
            "running",
            waits,
            waiting="the disk is full: 3 MB are free",
            warnings=[{"scope": "day", "fraction": 0.8}],
        ),
        _run(
            "running",
            running,
            usage=Usage(cost=0.01, calls=9, unknown=3),
            budget={"usd": 2.0},
            warnings=[{"scope": scope, "fraction": 0.81} for scope in ("run", "day", "classify")],
        ),
        _run("pending", _task("a", "pending"), position=3),
        _run("pending"),
        _run("waiting", extract, _task("publish", "pending"), gate={"task": "publish", "message": "Send it?"}),
        _run("waiting", extract, _task("publish", "pending")),
        _run("done", extract, usage=cached),
        _run("done", extract, _task("map", "done", items=lost, usage=Usage(cost=None, calls=2), **times)),
        _run(
            "done",
            _task("map", "done", items=ItemCounts(), **times),
            _task("b", "skipped", reason="when is false"),
        ),
        _run(
            "done",
            *(
                _task("label", "done", items=ItemCounts(total=300, done=300, alone=70), cascade=c)
                for c in _learned()
            ),
        ),
        _run("failed", failed, error=failure, usage=used, warnings=[{"scope": "run", "fraction": 0.9}]),
        _run("failed", _task("map", "failed", items=rows, error=threshold, **times), error=threshold),
        _run(
            "failed",
            extract,
            error={"code": "budget_exceeded", "message": "The budget is spent", "hint": "More"},
        ),
        _run("cancelled", extract, _task("publish", "cancelled"), waiting="no longer"),
        _run(
            "dead",
            _task("a", "running", started_at=times["started_at"]),
            error={"code": "dead", "message": "Crashed"},
        ),
    ]


def _learned() -> list[dict[str, Any]]:
    """Thresholds that cascades learned, or did not."""
    model = {"model": "openai:gpt-5", "target": 0.9}
    return [
        {
            **model,
            "threshold": 0.83,
            "sampled": 200,
            "sure": 150,
            "agreeing": 145,
            "interval": [0.923934, 0.98907],
        },
        {
            **model,
            "threshold": None,
            "sampled": 200,
            "sure": 200,
            "agreeing": 122,
            "interval": [0.538697, 0.677966],
        },
        {**model, "threshold": None, "sampled": 0, "sure": 0, "agreeing": 0, "interval": None},
        {**model, "threshold": 1.0, "sampled": 1, "sure": 1, "agreeing": 1, "interval": [0.025, 1.0]},
    ]


def golden() -> dict[str, Any]:
    """All cases as JSON: what goes in, and what `presentation.format` makes of it."""
    now = fmt.timestamp(_NOW)
    return {
        "now": now,
        "money": [[cost, fmt.money(cost)] for cost in _COSTS],
        "cost_sum": [[list(case), fmt.cost_sum(*case)] for case in _SUMS],
        "tokens": [[count, fmt.tokens(count)] for count in _COUNTS],
        "duration": [[seconds, fmt.duration(seconds)] for seconds in _SECONDS],
        "elapsed": [[seconds, fmt.elapsed(seconds)] for seconds in _SECONDS if seconds >= 0],
        "percent": [[fraction, fmt.percent(fraction)] for fraction in _FRACTIONS],
        "icons": {state: fmt.state_icon(state) for state in (*_states(), "of a newer server")},
        "runs": [_of_run(run, now) for run in _runs()],
    }


def _states() -> list[str]:
    return sorted({run.state for run in _runs()} | {task.state for run in _runs() for task in run.tasks})


def _of_run(run: RunView, now: float) -> dict[str, Any]:
    return {
        "run": run.model_dump(mode="json"),
        "shown_state": fmt.shown_run_state(run),
        "headline": fmt.headline(run, now),
        "problems": [problem._asdict() for problem in fmt.problems(run)],
        "tasks": [
            {"shown_state": fmt.shown_task_state(task), **fmt.task_line(task, now)._asdict()}
            for task in run.tasks
        ],
    }


def text() -> str:
    """The file."""
    return json.dumps(golden(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text())
