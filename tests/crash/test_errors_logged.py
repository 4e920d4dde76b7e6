"""R1.2: every error is in a log, with run, task, stage and attempt."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.telemetry.logging import configure
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.orchestrator import ROOT, body, orchestrator, settings, task, wait_for_state


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    """Where the orchestrator of this process logs to."""
    path = tmp_path / "logs" / "orchestrator.log"
    configure(settings(tmp_path), file=path)
    yield path
    for handler in list(logging.getLogger("po_jupyter").handlers):
        logging.getLogger("po_jupyter").removeHandler(handler)
        handler.close()


def lines(path: Path, event: str) -> list[dict[str, Any]]:
    """The log's lines of that event."""
    found = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def places(path: Path, event: str) -> list[tuple[Any, ...]]:
    """Their run, task, stage and attempt."""
    return [tuple(line[name] for name in ("run", "task", "stage", "attempt")) for line in lines(path, event)]


async def test_errors_of_code_rows_and_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt of a task, each row, each try of a call that fails."""

    def reply(asked: dict[str, Any], n: int) -> Reply:
        prompt = asked["messages"][-1]["content"]
        if prompt == "busy" and n <= 2:
            return Reply(status=503)
        return Reply(status=400) if prompt == "row 1" else Reply(text="fine")

    with ModelServer(reply) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        llm = {"model": "openai:test", "retry": {"initial_delay": 0.01}}
        busy = {"name": "busy", "prompt": "busy", "needs": []}
        bad = {**task("bad", fail=str(tmp_path / "never")), "needs": ["busy"]}
        bad["retry"] = {"max_attempts": 2, "initial_delay": 0.01}
        rows = {"name": "rows", "prompt": "row {{ item }}", "for_each": "{{ [0, 1] }}", "needs": ["busy"]}
        asked = body(busy, bad, rows)
        asked["pipeline"]["llm"] = llm
        async with orchestrator(tmp_path) as service:
            view, _ = await service.submissions.submit(asked, owner="local")
            assert (await wait_for_state(service, view.id)).state == "failed"
    log = tmp_path / "runs" / view.id / "worker.log"
    assert places(log, "task failed") == [(view.id, "bad", "ingestion", n) for n in (1, 2)]
    assert places(log, "row failed") == [(view.id, "rows", "inference", 1)]
    assert lines(log, "row failed")[0]["index"] == 1
    assert places(log, "call failed") == [(view.id, "busy", "inference", 1)] * 2
    assert [line["tries"] for line in lines(log, "call failed")] == [1, 2]


async def test_errors_of_workers(tmp_path: Path, logs: Path) -> None:
    """A crash names what the worker was doing, and so does the run's own record of it."""
    async with orchestrator(tmp_path, max_crashes=2) as service:
        view, _ = await service.submissions.submit(body(task("one"), task("two", crash=True)), owner="local")
        view = await wait_for_state(service, view.id)
        assert view.state == "dead"
        assert view.error is not None
        assert view.error["details"]["tasks"] == [{"task": "two", "stage": "ingestion", "attempt": 1}]
    assert places(logs, "worker crashed") == [(view.id, "two", "ingestion", 1)] * 2


async def test_errors_of_starting_workers(tmp_path: Path, logs: Path) -> None:
    """Each try to start one, and the end of trying. No task had begun: there is none to name."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    more = {"max_running": 1, "spawn_attempts": 3, "spawn_delay": 0.01}
    async with orchestrator(tmp_path / "data", **more) as service:
        first, _ = await service.submissions.submit(body(task("one", seconds=0.5)), owner="local")
        view, _ = await service.submissions.submit(body(task("one"), interpreter=str(program)), owner="local")
        program.write_text("#!/bin/sh\nexit 1\n")
        await service.zygotes._running.pop(str(program)).close()
        assert (await wait_for_state(service, first.id)).state == "done"
        assert (await wait_for_state(service, view.id)).state == "dead"
    tries = lines(logs, "no worker yet")
    assert [(line["run"], line["attempt"]) for line in tries] == [(view.id, 1), (view.id, 2)]
    assert [line["run"] for line in lines(logs, "no worker for the run")] == [view.id]
