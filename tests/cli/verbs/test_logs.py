"""`po logs`: events, stages and the orchestrator's own log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.cli import fake_run, make_view


def test_logs_are_lines_or_json_lines(po: Any, client: Any) -> None:
    run = fake_run(make_view())
    run.history = [
        {"offset": 1, "at": "2026-11-22T12:00:00.000Z", "type": "run.created", "data": {"pipeline": "tickets"}},
        {"offset": 2, "at": "2026-11-22T12:00:01.000Z", "type": "item.failed", "task": "label", "item": 3,
         "data": {"error": {"message": "bad\x07 row"}}},
    ]  # fmt: skip
    client.runs_there = [run]
    _, out, _ = po("logs", "7f3a")
    assert "12:00:01.000" in out
    assert "label row 3" in out
    assert "row" in out
    assert "\x07" not in out
    _, out, _ = po("logs", "7f3a", "--since", "1", "--json")
    assert [json.loads(line)["offset"] for line in out.splitlines()] == [2]


def test_the_history_has_the_lines_of_ones_own_python(po: Any, client: Any) -> None:
    """The traceback was recorded and never shown."""
    run = fake_run(make_view())
    error = {"message": "it raised", "details": {"traceback": "  File x, line 2\n    boom()\nNameError: boom"}}
    event = {"offset": 2, "at": "2026-11-22T12:00:01.000Z", "type": "task.failed", "task": "label"}
    run.history = [{**event, "data": {"error": error}}]
    client.runs_there = [run]
    _, out, _ = po("logs", "7f3a")
    assert "│     boom()\n" in out and "it raised" in out


def test_the_orchestrators_log_is_found(po: Any, tmp_path: Path) -> None:
    code, _, err = po("logs")
    assert code == 3
    assert "no log" in err
    (tmp_path / "data" / "logs").mkdir(parents=True)
    (tmp_path / "data" / "logs" / "orchestrator.log").write_text("one\ntwo\nthree\n")
    code, out, _ = po("logs", "--lines", "2")
    assert code == 0
    assert out.split() == ["two", "three"]


def test_logs_of_a_stage_are_safe_to_print(po: Any, client: Any) -> None:
    """B5, P6."""
    client.runs_there = [fake_run(make_view())]
    code, out, _ = po("logs", "be7f3a", "--task", "label", "--stage", "inference")
    assert code == 0
    assert client.runs_there[0].asked == [("logs", ("label", "inference"))]
    assert "label/inference.log (its end; 99,999 bytes)" in out
    assert "\x1b" not in out
    assert po("logs", "--task", "x")[0] == 2
