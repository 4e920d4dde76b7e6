"""The page of a run in a terminal: what the run page's first tab has, in whatever window there is."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from po_jupyter.cli.live_page import page
from po_jupyter.model.run.view import RunView
from tests.support.cli import make_view

NOW = 1_763_812_860.0
TASKS: list[dict[str, Any]] = [
    {"name": "extract", "state": "done", "kind": "python", "attempt": 1,
     "started_at": "2026-11-22T12:00:00.000Z", "ended_at": "2026-11-22T12:00:12.100Z"},
    {"name": "classify", "state": "running", "attempt": 1, "stage": "inference",
     "started_at": "2026-11-22T12:00:12.100Z", "waiting": "waiting 8 s for openai (requests per minute)",
     "items": {"total": 1000, "done": 409, "failed": 3, "in_flight": 16},
     "usage": {"cost": 0.041, "calls": 400, "input_tokens": 18_000, "output_tokens": 200}},
    {"name": "publish", "state": "pending"},
]  # fmt: skip


def drawn(view: RunView, width: int = 120, height: int = 30, *more: Any) -> list[str]:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(page(view, NOW, (width, height), *more))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_header_money_tasks_waits_failures_and_what_is_written() -> None:
    view = make_view("running", tasks=TASKS, budget={"usd": 0.05})
    failures = [("classify row 17", 'no "label"\nin two lines')]
    lines = drawn(view, 140, 30, failures, ("classify row 3", "the export\nbutton"))
    text = "\n".join(lines)
    assert lines[0].startswith("tickets 1.0.0 · run be7f3a · running · task 2 of 3")
    assert "$0.043 of $0.050" in lines[1] and "86 %" in lines[1]
    assert "✓" in text and "▸" in text and "○" in text
    assert "412/1000 rows · 3 failed · 16 in flight" in text and "41 %" in text
    assert "waiting 8 s for openai" in text
    assert ' ✗ classify row 17: no "label" in two lines' in lines
    assert " classify row 3 │ the export button" in lines
    assert "po cancel be7f3a" in lines[-1]
    assert text.count("$0.043") == 1, "money is said once"


def test_what_a_cascade_learned_stands_below_its_task() -> None:
    learned = {"threshold": None, "target": 0.9, "model": "openai:big", "sampled": 20, "sure": 20, "agreeing": 9,
               "interval": [0.23, 0.68]}  # fmt: skip
    view = make_view("running", tasks=[{**TASKS[1], "waiting": None, "cascade": learned}])
    assert "no threshold learned from 20 rows: 45 % agree with openai:big" in "\n".join(drawn(view, 140))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_a_narrow_window_cuts_the_details_and_never_the_signs(width: int) -> None:
    long = [{**task, "name": task["name"] * 5} for task in TASKS]
    lines = drawn(
        make_view("running", tasks=long, waiting="the disk is full " * 9), width, 30, [("r", "w" * 300)]
    )
    assert all(len(line) <= width for line in lines)
    for sign in "✓▸○✗":
        assert sum(sign in line for line in lines) == 1, (sign, lines)


def test_more_tasks_than_lines_are_counted_and_those_at_work_are_shown() -> None:
    many = [
        {"name": f"t{n}", "state": "done" if n < 40 else "running" if n == 40 else "pending"}
        for n in range(100)
    ]
    many[20]["state"] = "failed"
    lines = drawn(make_view("running", tasks=many), 100, 20)
    text = "\n".join(lines)
    assert len(lines) <= 20
    assert "t20 " in text and "t40 " in text
    assert "… 59 pending" in text
    total = sum("t" + str(n) in text.split() for n in range(100))
    assert 2 <= total <= 12


def test_control_characters_of_a_model_are_shown_and_not_obeyed() -> None:
    """P6."""
    lines = drawn(
        make_view("running"), 100, 20, [("\x1b[2Jx", "\x1b]0;t\x07")], ("a", "\x1b[31mred[bold]not mark-up[/]")
    )
    assert "\x1b" not in "".join(lines) and "[bold]not mark-up[/]" in "".join(lines)


def test_an_ended_run_offers_nothing_to_stop() -> None:
    text = "\n".join(drawn(make_view("done")))
    assert "Ctrl-C" not in text and "run be7f3a · done" in text
