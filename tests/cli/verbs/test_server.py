"""`po start`, `stop` and `token`, over a background orchestrator that is made up here."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from po_jupyter.client import headless
from tests.support.cli import FakeClient


class Process:
    """A process that ends after `looks` looks at it; `error` is raised by its signal."""

    def __init__(self, looks: int = 0, error: Exception | None = None, status: str = "running") -> None:
        self.looks, self.error, self._status = looks, error, status
        self.terminated = 0

    def terminate(self) -> None:
        if self.error is not None:
            raise self.error
        self.terminated += 1

    def is_running(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def status(self) -> str:
        return self._status


def orchestrator(pid: int = 42) -> Any:
    return SimpleNamespace(pid=pid, endpoint=SimpleNamespace(url="http://127.0.0.1:8123/", token="T0"))


class Machine:
    """What runs on this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running: Any = None
        self.process = Process()
        monkeypatch.setattr(headless, "running", lambda settings: self.running)
        monkeypatch.setattr(headless, "start", lambda settings: self.running or orchestrator())
        monkeypatch.setattr(psutil, "Process", lambda pid: self.process)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_start_says_where_it_is_and_whether_it_was_there(po: Any, machine: Machine) -> None:
    code, out, _ = po("start")
    assert code == 0
    assert "orchestrator  started" in out
    assert "http://127.0.0.1:8123/" in out
    assert "T0" not in out, "the token is asked for by its own verb"
    assert json.loads(po("start", "--json")[1])["started"] is True
    machine.running = orchestrator()
    assert "was running" in po("start")[1]
    data = json.loads(po("start", "--json")[1])
    assert (data["started"], data["pid"], data["url"]) == (False, 42, "http://127.0.0.1:8123/")


def test_an_orchestrator_that_came_in_the_place_of_a_dead_one_was_started(
    po: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.running = orchestrator(41)
    monkeypatch.setattr(headless, "start", lambda settings: orchestrator(42))
    assert "orchestrator  started" in po("start")[1]


def test_stop_waits_for_its_end(po: Any, machine: Machine) -> None:
    assert po("stop")[1] == "no background orchestrator is running\n"
    assert json.loads(po("stop", "--json")[1]) == {"stopped": False, "pid": None}
    machine.running = orchestrator()
    machine.process = Process(looks=2)
    code, out, _ = po("stop")
    assert (code, machine.process.terminated, machine.process.looks) == (0, 1, -1)
    assert "stopped the orchestrator (process 42)" in out
    assert json.loads(po("stop", "--json")[1]) == {"stopped": True, "pid": 42}


def test_one_that_is_gone_or_that_nobody_waits_for_any_more_has_stopped(po: Any, machine: Machine) -> None:
    machine.running = orchestrator()
    for gone in (Process(error=psutil.NoSuchProcess(42)), Process(looks=1000, status=psutil.STATUS_ZOMBIE)):
        machine.process = gone
        assert po("stop")[0] == 0


def test_one_that_does_not_stop_or_is_somebody_elses_is_told(po: Any, machine: Machine) -> None:
    """P11: `po stop` again does no harm."""
    machine.running = orchestrator()
    machine.process = Process(looks=1000)
    code, _, err = po("stop", "--timeout", "0")
    assert code != 0
    assert "has not stopped within 0 s" in err
    assert "again waits longer" in err
    machine.process = Process(error=psutil.AccessDenied(42))
    code, _, err = po("stop")
    assert code != 0
    assert "process 42 is not yours to stop" in err


def test_the_token_is_two_variables_for_another_shell(
    po: Any, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.endpoint = SimpleNamespace(url="http://x/", token="T0")
    code, out, err = po("token")
    assert (code, out, err) == (0, "PO_JUPYTER_URL=http://x/\nPO_JUPYTER_TOKEN=T0\n", "")
    assert json.loads(po("token", "--json")[1]) == {"url": "http://x/", "token": "T0"}
    assert client.started == [False, False], "nothing is started for it"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, err = po("token")
    assert "can run code as you" in err
    client.running = False
    code, _, err = po("token")
    assert code != 0
    assert "`po start`" in err


def test_a_node_without_a_store_says_what_it_needs(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PO_STORE", raising=False)
    code, _, err = po("worker", "--name", "n1")
    assert code != 0
    assert "needs the store that it shares with others" in err
    assert "PO_STORE" in err


def test_workers_lists_the_nodes_and_what_waits(
    po: Any, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {
        "name": "n1", "host": "m", "pid": 1, "since": "", "version": "0.1.0", "slots": 8, "running": 3,
        "labels": ["gpu"], "state": "works", "silent": 0.4,
    }  # fmt: skip
    queue = {"running": 3, "queued": 7, "priorities": {"5": 2, "0": 5}, "oldest": 12.5}
    found = {"nodes": [node], "queue": queue, "broker": {"works": True, "depths": {"po.4": 7}}}
    drained: list[str] = []
    monkeypatch.setattr(client, "workers", lambda: found, raising=False)
    monkeypatch.setattr(client, "drain_node", drained.append, raising=False)
    code, out, _ = po("workers")
    assert code == 0
    for text in (
        "n1",
        "3/8",
        "gpu",
        "0.4 s",
        "7 wait, the first for 12.5 s",
        "2 of priority 5",
        "answers   po.4 7",
    ):
        assert text in out
    assert json.loads(po("workers", "--json")[1]) == found
    assert "n1 gives its runs to others" in po("workers", "drain", "n1")[1]
    assert drained == ["n1"]
