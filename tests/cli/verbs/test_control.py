"""`po cancel`, `resume`, `restart`, `fork`, `approve`, `reject`, `dead`: what they send, print and exit with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.cli import FakeRun, fake_run, make_view


def test_decisions_go_to_the_run(po: Any, client: Any) -> None:
    run = fake_run(make_view("done"))
    client.runs_there = [run]
    assert po("cancel", "7f3a")[0] == 0
    assert po("resume", "7f3a", "--from-task", "label", "--budget", "5", "--no-follow")[0] == 0
    assert po("resume", "7f3a", "--only-failed")[0] == 0
    assert po("approve", "7f3a", "--note", "fine")[0] == 0
    assert po("reject", "7f3a", "--note", "no", "--task", "draft")[0] == 0
    assert po("resume", "7f3a", "--row", "label:3", "--row", "label:7-8", "--include-done")[0] == 0
    plain = {"rows": None, "include_done": False}
    chosen = {"rows": {"label": [3, 7, 8]}, "include_done": True}
    assert run.asked[:6] == [
        ("cancel", None),
        ("resume", {"from_task": "label", "only_failed": False, "budget": {"usd": 5.0}, **plain}),
        ("resume", {"from_task": None, "only_failed": True, "budget": None, **plain}),
        ("approve", "fine", None),
        ("reject", "no", "draft"),
        ("resume", {"from_task": None, "only_failed": False, "budget": None, **chosen}),
    ]


def test_budgets_of_a_run_and_of_its_tasks(po: Any, client: Any) -> None:
    """G1."""
    client.runs_there = [fake_run(make_view("failed"))]
    po("resume", "be7f3a", "--budget", "5", "--budget", "label=0.5", "--no-follow")
    (_, options), *_ = client.runs_there[0].asked
    assert options["budget"] == {"usd": 5.0, "tasks": {"label": {"usd": 0.5}}}


LETTER = {
    "id": make_view().id,
    "name": "first",
    "pipeline": "tickets",
    "version": "1.0.0",
    "died_at": "2026-11-22T12:00:41.500Z",
    "task": "label",
    "stage": "inference",
    "attempt": 2,
    "crashes": 3,
    "error": {"code": "worker_crashed", "message": "the worker was killed by SIGKILL, 3 times in a row"},
    "log": "one\ntwo \x1b[2Jthree",
    "tasks": {"total": 4, "done": 1},
}


@pytest.fixture
def run(client: Any) -> FakeRun:
    found = FakeRun([make_view("done")])
    client.runs_there = [found]
    return found


def test_restart_says_what_is_done_again(po: Any, run: FakeRun) -> None:
    """B13: all of it, from a task on, or one task only."""
    assert po("restart", run.short, "--no-follow")[0] == 0
    assert po("restart", run.short, "--task", "label", "--only", "--clear-usage", "--no-follow")[0] == 0
    assert run.asked == [
        ("restart", (None, {"only": False, "clear_usage": False})),
        ("restart", ("label", {"only": True, "clear_usage": True})),
    ]


def test_only_needs_its_task(po: Any, run: FakeRun) -> None:
    """R1.4."""
    code, _, err = po("restart", run.short, "--only")
    assert code == 2
    assert "--only needs --task" in err


def test_fork_takes_a_task_and_perhaps_another_seed(po: Any, run: FakeRun) -> None:
    """G5."""
    code, out, _ = po("fork", run.short, "--from-task", "label", "--seed", '{"text": "b"}', "--no-follow")
    assert code == 0
    assert run.asked == [("fork", ("label", {"seed": {"text": "b"}}))]
    assert f"forked from {run.short}" in out
    assert po("fork", run.short)[0] == 2


def test_dead_lists_where_why_and_what_next(po: Any, client: Any) -> None:
    """R1.2: the whole context, without what a terminal would obey (P6)."""
    client.letters = [LETTER]
    for words in (["dead"], ["dead", "list"]):
        code, out, _ = po(*words)
        assert code == 0
        assert "in task label, stage inference, attempt 2; 3 crashes in a row" in out
        assert "killed by SIGKILL" in out
        assert "│ two \N{REPLACEMENT CHARACTER}[2Jthree" in out
        assert "po dead requeue be7f3a" in out
    assert json.loads(po("dead", "list", "--json")[1]) == [LETTER]
    client.letters = []
    assert po("dead")[1] == "no dead runs\n"
    assert client.started == [False] * 4, "reading starts no orchestrator"


def test_dead_runs_are_requeued_and_discarded(po: Any, run: FakeRun) -> None:
    """R1.2."""
    assert po("dead", "requeue", run.short, "--from-task", "label", "--no-follow")[0] == 0
    assert po("dead", "discard", run.short, "--yes")[0] == 0
    assert json.loads(po("dead", "discard", run.short, "--json")[1]) == {"discarded": run.id}
    assert run.asked == [("requeue", "label"), ("discard", None), ("discard", None)]
