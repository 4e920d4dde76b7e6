"""Runs over a store in PostgreSQL: to their end, over kills of workers and of the database's server (P1, P3)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import body, orchestrator, task, wait_for_state, wait_for_task_state
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.acceptance


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def test_a_run_is_worked_off_and_a_killed_worker_is_replaced(
    tmp_path: Path, server: PostgresServer
) -> None:
    async with orchestrator(tmp_path, store=server.url()) as service:
        view, _ = await service.submissions.submit(body(task("one"), task("two", seconds=1.0)), owner="local")
        await wait_for_task_state(service, view.id, "two")
        os.kill(service.dispatcher.active.supervisor.processes.by_run[view.id].pid, signal.SIGKILL)
        view = await wait_for_state(service, view.id, patience=40)
        assert view.state == "done"
        types = [e["type"] for e in await service.runs.events(view.id, None)]
        assert types.count("worker.crashed") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.timeout(110)
async def test_a_run_waits_while_the_database_is_away_and_nothing_is_paid_twice(
    tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(latency=0.3) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        rows = {
            "name": "rows", "prompt": "row {{ item }}", "for_each": str(list(range(40))), "max_concurrency": 4,
            "llm": {"model": "openai:test", "max_tokens": 50},
        }  # fmt: skip
        async with orchestrator(tmp_path, store=server.url(), max_crashes=1) as service:
            view, _ = await service.submissions.submit(body(rows), owner="local")
            async with asyncio.timeout(30):
                while len(model.requests) < 10:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(1.0)  # as long as it is away
            await asyncio.to_thread(server.start)
            view = await wait_for_state(service, view.id, patience=60)
            assert (view.state, view.tasks[0].items.done) == ("done", 40)
            assert view.tasks[0].items.failed == 0
            # What was answered while nothing could be recorded may be asked again: at most what was in flight.
            assert len(model.requests) <= 40 + 4
