"""DESIGN 5: a worker listens from the moment it has its run, also while it still reads a long log."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel, Listener
from po_jupyter.ipc.messages import DrainWorker, Welcome, WorkerRequest
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.orchestrator.workers.spawned_workers import SpawnedWorkers, is_spawn
from po_jupyter.orchestrator.workers.zygote_pool import ZygoteProcess
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.worker import main as worker
from tests.support.orchestrator import ROOT, body, orchestrator, settings, task, wait_for_holder
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration


class SlowStore(DiskStore):
    """A store whose definitions take half a second to read, as a long log does."""

    def definition(self, run: str) -> dict[str, Any]:
        time.sleep(0.5)
        return super().definition(run)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    """A slow store with one run of one task in it."""
    store = SlowStore(tmp_path / "store", shards=1)
    store_run(store)
    (tmp_path / "runs" / RUN).mkdir(parents=True)
    yield store
    store.close()


async def test_a_worker_that_is_drained_while_it_loads_gives_its_run_back(
    tmp_path: Path, store: DiskStore
) -> None:
    address = tmp_path / "orchestrator.sock"
    heard: list[str] = []

    async def serve(channel: Channel, first: IpcMessage) -> None:
        channel.send(Welcome(False, {"epoch": "e", "limited": []}))
        channel.send(DrainWorker())
        while (message := await channel.receive()) is not None:
            heard.append(message.op)

    listener = Listener(address, serve)
    await listener.start()
    request = WorkerRequest(
        run=RUN, expect=0, address=str(address), watched=True, shards=1, settings={}, cwd=None, log="", env={},
        log_token=None,
    )  # fmt: skip
    try:
        assert await worker.work_off(request, Settings(data_dir=tmp_path), store) == 0
    finally:
        await listener.close()
    assert heard[-1] == "bye"
    head = store.head(RUN)
    assert (head["state"], head["holder"]) == ("running", None)
    assert "task.started" not in [e["type"] for e in store.events(RUN)]


SLOW = """
import os, time
from po_jupyter.store.disk.store import DiskStore

read = DiskStore.definition

def slow(self, run):
    if run != "0" * 22:
        open(os.path.join({folder!r}, "loading"), "w").close()
        time.sleep(1.5)
    return read(self, run)

DiskStore.definition = slow
"""


async def test_a_server_that_stops_while_a_worker_loads_drains_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes: the worker ends in order, by itself, and the next server goes on."""
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(folder=str(tmp_path)))
    python = tmp_path / "python"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    statuses: list[int | None] = []
    source: Any = SpawnedWorkers if is_spawn(settings(tmp_path).worker_start) else ZygoteProcess
    spawn = source.spawn

    async def spawn_and_note(self: Any, request: Any, on_exit: Any) -> processes.Identity:
        def exited(pid: int, status: int | None) -> None:
            statuses.append(status)
            on_exit(pid, status)

        identity: processes.Identity = await spawn(self, request, exited)
        return identity

    monkeypatch.setattr(source, "spawn", spawn_and_note)
    data = tmp_path / "data"
    async with orchestrator(data, shutdown_timeout=20.0) as service:
        view, _ = await service.submissions.submit(
            body(task("one", seconds=60), interpreter=str(python)), owner="me"
        )
        run = view.id
        async with asyncio.timeout(20):
            while not (tmp_path / "loading").exists():
                await asyncio.sleep(0.02)
            await wait_for_holder(data, run)
            await asyncio.sleep(0.3)  # it connects meanwhile
    assert statuses == [0]
    store = DiskStore(data / "store")
    assert store.head(run)["holder"] is None
    assert [e["type"] for e in store.events(run)] == ["run.created", "run.started"]
    store.close()
