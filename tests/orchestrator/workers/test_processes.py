"""Worker processes as the orchestrator has them: each end is told once, and what lingers or is silent is killed."""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.orchestrator.workers.processes import WorkerHandle, WorkerProcesses
from po_jupyter.platform import processes

pytestmark = pytest.mark.integration


class Workers:
    """Worker processes that sleep, and what was told of their ends."""

    def __init__(self) -> None:
        self.exits: list[tuple[str, int | None]] = []
        self.slow_exit: asyncio.Event | None = None  # what follows an end waits for it
        self.processes = WorkerProcesses(Settings(heartbeat=0.05), self._on_exit)
        self._started: list[subprocess.Popen[bytes]] = []

    async def _on_exit(self, worker: WorkerHandle, status: int | None) -> None:
        if self.slow_exit is not None:
            await self.slow_exit.wait()
        self.exits.append((worker.run, status))
        self.processes.remove(worker)

    def add(self, run: str, *, silence_limit: float = math.inf, ours: bool = True) -> WorkerHandle:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True
        )
        self._started.append(process)
        worker = WorkerHandle(run, processes.identity_of(process.pid), silence_limit, ours=ours)
        self.processes.add(worker)
        return worker

    async def close(self) -> None:
        await self.processes.close()
        for process in self._started:
            process.kill()
            process.wait()

    async def told(self, *exits: tuple[str, int | None]) -> None:
        async with asyncio.timeout(5):
            while self.exits != list(exits):
                await asyncio.sleep(0.01)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers()
    yield workers
    await workers.close()


async def test_each_end_is_told_once(workers: Workers) -> None:
    worker = workers.add("r")
    assert workers.processes.get("r") is worker
    processes.end_group(worker.identity)
    workers.processes.exited(worker, -9)
    workers.processes.exited(worker, -9)
    await workers.told(("r", -9))
    assert workers.processes.get("r") is None


async def test_the_end_of_an_adopted_worker_is_noticed(workers: Workers) -> None:
    worker = workers.add("r", ours=False)
    await asyncio.sleep(0.05)
    assert workers.exits == []
    processes.end_group(worker.identity, signal.SIGTERM)
    await workers.told(("r", None))


async def test_a_worker_outlives_its_zygote_and_is_watched_from_then_on(workers: Workers) -> None:
    worker = workers.add("r")
    workers.processes.exited(worker, None)  # the zygote is gone
    await asyncio.sleep(0.05)
    assert not worker.ended.is_set()
    workers.processes.kill(worker, "cancel")
    await workers.told(("r", None))
    assert worker.end_reason == "cancel"


async def test_one_that_does_not_end_by_itself_is_killed(workers: Workers) -> None:
    lingers, exits = workers.add("lingers", ours=False), workers.add("exits", ours=False)
    workers.processes.kill_after(lingers, 0.2, "cancel")
    workers.processes.kill_after(exits, 0.2, "cancel")
    processes.end_group(exits.identity, signal.SIGTERM)
    async with asyncio.timeout(5):
        await lingers.ended.wait()
    assert (lingers.end_reason, exits.end_reason) == ("cancel", None)


async def test_silence_kills_a_worker_that_works_and_none_that_has_finished(workers: Workers) -> None:
    silent = workers.add("silent", silence_limit=0.2, ours=False)
    finished = workers.add("finished", silence_limit=0.2, ours=False)
    finished.final_state = "done"
    watching = asyncio.create_task(workers.processes.watch_silence())
    await workers.told(("silent", None))
    watching.cancel()
    assert silent.end_reason == "silence"
    assert processes.alive(finished.identity)


async def test_what_follows_an_end_is_not_cut_off(workers: Workers) -> None:
    """It records the end, and kills what user code left behind."""
    worker = workers.add("r")
    workers.slow_exit = asyncio.Event()
    workers.processes.exited(worker, 0)
    closing = asyncio.create_task(workers.processes.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    workers.slow_exit.set()
    await closing
    assert workers.exits == [("r", 0)]


async def test_a_new_worker_of_a_run_is_not_forgotten_for_an_old_one(workers: Workers) -> None:
    old = workers.add("r")
    new = workers.add("r")
    workers.processes.remove(old)
    assert workers.processes.get("r") is new
