"""Runs that wait for a batch at a provider, in real workers: they hold nobody up, and a cancel collects (G4, B14)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.testing.model_server.batches import BatchServer
from tests.support.orchestrator import body, held, orchestrator, task, until

pytestmark = pytest.mark.integration

QUICK = {"batch_poll_min": 0.05, "batch_poll_max": 0.1, "batch_grace": 0.1}
ROWS = 6


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    with BatchServer() as started:
        monkeypatch.setenv("OPENAI_BASE_URL", started.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        yield started


def batched() -> dict[str, Any]:
    rows = {"name": "m", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "mode": "batch"}
    return {
        "pipeline": {"name": "b", "llm": {"model": "openai:gpt-4o", "max_tokens": 50}, "tasks": [rows]},
        "seed": {"name": "s", "data": {"rows": list(range(ROWS))}},
    }


async def waits(service: Any, run: str) -> None:
    async with asyncio.timeout(20):
        async with service.changes.subscribe(run) as notes:
            while "batch of 6 rows at openai" not in (
                (await service.runs.get(run, None)).tasks[0].waiting or ""
            ):
                await notes.get(0.2)


async def test_a_run_that_waits_takes_no_place(tmp_path: Path, server: BatchServer) -> None:
    """B14: with room for one run, another goes on beside one whose batch takes a day."""
    server.hold()
    async with orchestrator(tmp_path, max_running=1, **QUICK) as service:
        waiting, _ = await service.submissions.submit(batched(), owner="local")
        await waits(service, waiting.id)
        other, _ = await service.submissions.submit(body(task("t")), owner="local")
        assert (await until(service, other.id)).state == "done"
        assert (await service.runs.get(waiting.id, None)).state == "running"
        server.release()
        view = await until(service, waiting.id)
        assert view.state == "done" and view.usage.calls == ROWS


async def test_a_killed_worker_and_a_restarted_server_find_the_batch_again(
    tmp_path: Path, server: BatchServer
) -> None:
    """Done-when 7."""
    server.hold()
    async with orchestrator(tmp_path, **QUICK) as service:
        view, _ = await service.submissions.submit(batched(), owner="local")
        await waits(service, view.id)
        pid = await held(tmp_path, view.id)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while not any(
                e["type"] == "worker.crashed" for e in await service.runs.events(view.id, None, limit=1000)
            ):
                await asyncio.sleep(0.05)
        await waits(service, view.id)
    server.release()
    async with orchestrator(tmp_path, **QUICK) as service:
        view = await until(service, view.id)
        assert view.state == "done" and view.usage.calls == ROWS
        outputs = await service.results.outputs(view.id, None)
        assert [row["output"] for row in outputs["m"]] == [f"echo: row {i}" for i in range(ROWS)]
    assert len(server.batches()) == 1


@pytest.mark.parametrize("alone", [False, True])
async def test_a_cancel_waits_for_what_is_paid_for(tmp_path: Path, server: BatchServer, alone: bool) -> None:
    """P12: also when the worker died meanwhile; another one cancels at the provider and collects."""
    server.hold()
    server.finished = 2
    async with orchestrator(tmp_path, cancel_timeout=0.2, **QUICK) as service:
        view, _ = await service.submissions.submit(batched(), owner="local")
        await waits(service, view.id)
        if alone:
            os.kill(await held(tmp_path, view.id), signal.SIGKILL)
        await service.control.cancel(view.id, None)
        view = await until(service, view.id)
        assert view.state == "cancelled"
        assert view.usage.calls == 2
        items = view.tasks[0].items
        assert items is not None and (items.done, items.failed) == (2, 0)
    assert [made.ended for made in server.batches()] == ["cancelled"]
