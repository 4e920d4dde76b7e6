"""`po schedule` and its verbs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import make_view

ONE = {
    "id": "ab12", "pipeline": "tickets", "cron": "30 7 * * *", "timezone": "Europe/Berlin", "missed": "last",
    "overlap": "skip", "state": "active", "reason": None, "next_at": "2026-07-01T05:30:00Z", "waiting": 0,
    "last": {"slot": "2026-06-30T05:30:00Z", "at": "2026-06-30T05:30:00Z", "outcome": "run",
             "run": "0192f0c3a1b2deadbe7f3a", "state": "done"},
    "created_at": "2026-06-01T00:00:00Z",
}  # fmt: skip
PAUSED = {
    **ONE,
    "id": "cd34",
    "state": "paused",
    "reason": "there is no pipeline 'x'",
    "next_at": None,
    "last": None,
}
MISSED = {"slot": "2026-06-29T05:30:00Z", "at": "", "outcome": "missed", "count": 3, "note": "nobody was up"}


class FakeSchedules:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.found: list[Any] = [ONE, PAUSED]

    def list(self) -> list[Any]:
        return self.found

    def get(self, schedule: str) -> Any:
        return {**ONE, "seed": {"files": "/in/*.csv", "only_new": True}, "outcomes": [ONE["last"], MISSED]}

    def add(self, *args: Any, **options: Any) -> Any:
        self.asked.append((args, options))
        return ONE

    def pause(self, schedule: str) -> Any:
        self.asked.append(("pause", schedule))
        return PAUSED

    def resume(self, schedule: str) -> Any:
        self.asked.append(("resume", schedule))
        return ONE

    def remove(self, schedule: str) -> None:
        self.asked.append(("remove", schedule))

    def start_run(self, schedule: str) -> Any:
        return make_view("pending")


@pytest.fixture
def schedules(client: Any, monkeypatch: pytest.MonkeyPatch) -> FakeSchedules:
    fake = FakeSchedules()
    monkeypatch.setattr(client, "schedules", fake, raising=False)
    return fake


def test_a_schedule_is_added_with_what_its_runs_are(po: Any, schedules: FakeSchedules) -> None:
    code, out, _ = po(
        "schedule", "add", "tickets", "--cron", "30 7 * * *", "--timezone", "Europe/Berlin", "--seed", "@in/*.csv",
        "--only-new", "--budget", "2", "--missed", "all", "--overlap", "queue",
    )  # fmt: skip
    assert (code, out) == (0, "schedule ab12 of tickets: next at 2026-07-01 07:30 Europe/Berlin\n")
    args, options = schedules.asked[0]
    assert args == ("tickets", "30 7 * * *")
    assert options == {
        "timezone": "Europe/Berlin", "seed": None, "files": "in/*.csv", "only_new": True, "budget": {"usd": 2.0},
        "model": None, "missed": "all", "overlap": "queue",
    }  # fmt: skip


def test_a_seed_in_the_line_is_data(po: Any, schedules: FakeSchedules) -> None:
    assert po("schedule", "add", "tickets", "--cron", "0 * * * *", "--seed", '{"who": "you"}')[0] == 0
    assert schedules.asked[0][1]["seed"] == {"who": "you"}
    assert po("schedule", "add", "tickets", "--cron", "0 * * * *", "--seed", "{")[0] == 2


def test_a_file_of_a_pipeline_is_registered(
    po: Any, schedules: FakeSchedules, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(client, "register", registered.append, raising=False)
    file = tmp_path / "t.yaml"
    file.write_text("name: mine\ntasks: [{name: a, prompt: x}]\n")
    assert po("schedule", "add", str(file), "--cron", "0 * * * *")[0] == 0
    assert registered[0].name == "mine"
    assert schedules.asked[0][0][0] == "mine"


def test_the_list_says_when_and_what_became_of_the_last(po: Any, schedules: FakeSchedules) -> None:
    for line in (("schedule",), ("schedule", "list")):
        code, out, _ = po(*line)
        assert code == 0
        assert "2026-07-01 07:30 Europe/Berlin" in out
        assert "run be7f3a done" in out
        assert "paused: there is no pipeline 'x'" in out
        assert json.loads(po(*line, "--json")[1]) == [ONE, PAUSED]
    schedules.found = []
    assert "po schedule add" in po("schedule", "list")[1]


def test_one_is_shown_with_its_slots(po: Any, schedules: FakeSchedules) -> None:
    code, out, _ = po("schedule", "show", "ab12")
    assert code == 0
    assert "/in/*.csv" in out
    assert "missed (3 slots): nobody was up" in out
    assert "2026-06-29 07:30 Europe/Berlin" in out
    assert json.loads(po("schedule", "show", "ab12", "--json")[1])["id"] == "ab12"


def test_it_is_paused_resumed_removed_and_run(po: Any, schedules: FakeSchedules) -> None:
    assert po("schedule", "pause", "cd34")[1] == "schedule cd34: paused: there is no pipeline 'x'\n"
    assert "next at" in po("schedule", "resume", "ab12")[1]
    assert "its runs stay" in po("schedule", "remove", "ab12")[1]
    assert "run be7f3a started" in po("schedule", "run", "ab12")[1]
    assert schedules.asked == [("pause", "cd34"), ("resume", "ab12"), ("remove", "ab12")]
    assert json.loads(po("schedule", "remove", "ab12", "--json")[1]) == {"removed": "ab12"}


def test_a_query_is_the_orchestrators_to_read(po: Any, schedules: FakeSchedules) -> None:
    query = ("--sql", "SELECT id FROM t", "--db", "env:T", "--new-by", "id")
    assert po("schedule", "add", "tickets", "--cron", "0 * * * *", *query)[0] == 0
    options = schedules.asked[0][1]
    assert {name: options[name] for name in ("sql", "db", "new_by", "seed", "files")} == {
        "sql": "SELECT id FROM t", "db": "env:T", "new_by": "id", "seed": None, "files": None,
    }  # fmt: skip
    assert po("schedule", "add", "tickets", "--cron", "0 * * * *", *query[:2])[0] != 0
    schedules.found = [{**ONE, "reason": "db cannot be reached"}]
    assert "waits: db cannot be reached" in po("schedule", "list")[1]
