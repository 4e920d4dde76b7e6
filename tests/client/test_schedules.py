"""What the blocking client sends about schedules."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from po_jupyter.client.blocking import Blocking
from po_jupyter.client.schedules import ClientSchedules
from po_jupyter.errors import InvalidInput

CODE = {"name": "code", "tasks": [{"name": "a", "source": "def ingestion(ctx): ..."}]}
PROMPTS = {"name": "p", "tasks": [{"name": "a", "prompt": "x"}]}


class FakeConnection:
    """Calls are what they are called with."""

    def __init__(self, *, is_local: bool = True) -> None:
        self.sent: list[Any] = []
        schedules = SimpleNamespace(add=self.record, change=lambda *body: self.record(body), remove=self.record)
        self.aio = SimpleNamespace(
            endpoint=SimpleNamespace(is_local=is_local), schedules=schedules,
            pipeline=lambda name: CODE if name == "code" else PROMPTS,
        )  # fmt: skip

    def record(self, body: Any) -> Any:
        self.sent.append(body)
        return body

    def call(self, value: Any) -> Any:
        return value


def schedules_of(connection: FakeConnection) -> ClientSchedules:
    return ClientSchedules(cast("Blocking", connection))


def test_rows_become_the_seed_and_defaults_are_said() -> None:
    connection = FakeConnection()
    schedules_of(connection).add("p", "0 7 * * *", seed=[{"a": 1}], budget=0.5)
    assert connection.sent == [
        {
            "pipeline": "p", "cron": "0 7 * * *", "timezone": "UTC", "seed": {"data": {"rows": [{"a": 1}]}},
            "budget": {"usd": 0.5}, "missed": "last", "overlap": "skip",
        }
    ]  # fmt: skip


def test_files_are_those_of_this_directory_where_the_orchestrator_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for is_local, path in ((True, str(tmp_path / "in" / "*.csv")), (False, "in/*.csv")):
        connection = FakeConnection(is_local=is_local)
        schedules_of(connection).add("p", "0 7 * * *", files="in/*.csv", only_new=True)
        assert connection.sent[0]["seed"] == {"files": path, "only_new": True}


def test_a_directory_may_be_called_like_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "[2026] tickets"
    here.mkdir()
    monkeypatch.chdir(here)
    for files, path in (
        ("*.csv", str(tmp_path / "[[]2026] tickets" / "*.csv")),
        ("a.csv", str(here / "a.csv")),
    ):
        connection = FakeConnection()
        schedules_of(connection).add("p", "0 7 * * *", files=files)
        assert connection.sent[0]["seed"]["files"] == path


def test_code_runs_with_this_interpreter_here() -> None:
    connection = FakeConnection()
    schedules_of(connection).add("code", "0 7 * * *")
    assert (connection.sent[0]["interpreter"], connection.sent[0]["cwd"]) == (sys.executable, os.getcwd())
    away = FakeConnection(is_local=False)
    schedules_of(away).add("code", "0 7 * * *")
    assert "interpreter" not in away.sent[0]


def test_a_seed_and_files_contradict_each_other() -> None:
    for wrong in ({"seed": {}, "files": "a.csv"}, {"seed": {}, "only_new": True}):
        with pytest.raises(InvalidInput):
            schedules_of(FakeConnection()).add("p", "0 7 * * *", **wrong)  # type: ignore[arg-type]


def test_pause_and_resume_are_changes() -> None:
    connection = FakeConnection()
    schedules_of(connection).pause("s1")
    schedules_of(connection).resume("s1")
    assert connection.sent == [("s1", {"paused": True}), ("s1", {"paused": False})]
