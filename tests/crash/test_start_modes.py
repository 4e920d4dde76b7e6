"""Issue 11, part 1: what holds for workers that are forked holds for those that are spawned, and for a change of that.

A short version for each start; with PO_WORKER_START=spawn all other tests start their workers by spawn too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.ipc.channel import address_of, port_file_of
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.platform import forking
from po_jupyter.store.disk.store import DiskStore
from tests.support.orchestrator import (
    Server,
    body,
    orchestrator,
    task,
    wait_for_exit,
    wait_for_file,
    wait_for_holder,
    wait_for_state,
    wait_for_task_state,
)
from tests.support.start_mode import forget_environment, inherited_environment

pytestmark = pytest.mark.acceptance

needs_fork = pytest.mark.skipif(not forking.HAS_FORK, reason="platform: no fork")
STARTS = [pytest.param("fork", marks=needs_fork), "spawn"]


async def types_of(service: RunningOrchestrator, run: str) -> list[str]:
    return [e["type"] for e in await asyncio.to_thread(service.store.events, run)]


async def ready(service: RunningOrchestrator) -> None:
    """Return once a worker can be started without a wait."""
    async with asyncio.timeout(20):
        while not service.zygotes.pids():
            await asyncio.sleep(0.02)


def cut_links(service: RunningOrchestrator) -> int:
    """End the connections of all workers; their number."""
    dispatcher: Any = service.dispatcher
    connections = list(dispatcher._active._listener._connections)
    for connection in connections:
        connection.cancel()
    return len(connections)


def test_programs_that_tests_start_keep_the_start_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the chaos says with PO_WORKER_START=spawn what holds for forks."""
    monkeypatch.setenv("PO_WORKER_START", "spawn")
    monkeypatch.setenv("PO_STORE", "elsewhere")
    inherited = inherited_environment("PO_", "JUPYTER")
    assert inherited["PO_WORKER_START"] == "spawn"
    assert "PO_STORE" not in inherited
    forget_environment(monkeypatch, "PO_", "JUPYTER")
    assert dict(os.environ) == inherited


@pytest.mark.parametrize("start", STARTS)
async def test_a_run_is_worked_off_at_once_and_survives_its_worker_and_its_link(
    tmp_path: Path, start: str
) -> None:
    """Its link is cut, and it is killed. How soon it begins: benchmark (`python -m tests.benchmarks orchestrator`)."""
    child = tmp_path / "child"
    async with orchestrator(tmp_path / "data", worker_start=start) as service:
        await ready(service)
        tasks = [task("one"), task("two", seconds=1.0), task("three", child=str(child), seconds=60.0)]
        for before, after in pairwise(tasks):
            after["needs"] = [before["name"]]
        view, _ = await service.submissions.submit(body(*tasks), owner="me")
        await wait_for_task_state(service, view.id, "two")
        pid = await wait_for_holder(tmp_path / "data", view.id)
        assert port_file_of(address_of(tmp_path / "data")).exists() == (start == "spawn")

        assert cut_links(service) == 1
        await wait_for_task_state(service, view.id, "three")  # notes come over the new link
        assert "worker.crashed" not in await types_of(service, view.id)

        left = int(await wait_for_file(child))
        psutil.Process(pid).kill()
        await wait_for_exit([pid, left])
        async with asyncio.timeout(20):
            while await wait_for_holder(tmp_path / "data", view.id) == pid:
                await asyncio.sleep(0.05)
        await service.control.cancel(view.id, None)
        assert (await wait_for_state(service, view.id)).state == "cancelled"
        types = await types_of(service, view.id)
        assert types.count("worker.crashed") == 1
        assert types.count("task.done") == 2, "nothing was done twice"


@pytest.mark.parametrize("start", STARTS)
async def test_a_worker_that_blocks_is_ended_for_a_cancel_and_one_that_drains_gives_its_run_back(
    tmp_path: Path, start: str
) -> None:
    data = tmp_path / "data"
    async with orchestrator(data, worker_start=start, cancel_timeout=0.5) as service:
        blocked, _ = await service.submissions.submit(body(task("one", block=600)), owner="me")
        await wait_for_task_state(service, blocked.id, "one")
        pid = await wait_for_holder(data, blocked.id)
        await service.control.cancel(blocked.id, None)
        assert (await wait_for_state(service, blocked.id)).state == "cancelled"
        await wait_for_exit([pid])
        drained, _ = await service.submissions.submit(body(task("one", seconds=1.0), task("two")), owner="me")
        await wait_for_task_state(service, drained.id, "one")
        pid = await wait_for_holder(data, drained.id)
    await wait_for_exit([pid], 20.0)
    store = DiskStore(data / "store")
    assert store.head(drained.id)["holder"] is None
    assert "worker.crashed" not in [e["type"] for e in store.events(drained.id)]
    store.close()


@asynccontextmanager
async def killed_server(data: Path, start: str) -> AsyncIterator[tuple[str, int]]:
    """A run and its worker, whose orchestrator was killed."""
    server = await asyncio.to_thread(Server, data, worker_start=start)
    try:
        tasks = [task("one", seconds=3.0), {**task("two"), "needs": ["one"]}]
        run = await asyncio.to_thread(server.submit, body(*tasks))
        pid = await asyncio.wait_for(wait_for_holder(data, run), 20)
    finally:
        await asyncio.to_thread(server.kill)
    yield run, pid


@needs_fork
@pytest.mark.parametrize(("earlier", "later"), [("fork", "spawn"), ("spawn", "fork"), ("spawn", "spawn")])
async def test_workers_are_adopted_by_an_orchestrator_that_starts_its_own_otherwise(
    tmp_path: Path, earlier: str, later: str
) -> None:
    """An upgrade: those of an earlier version know the path of a Unix socket alone, and nothing of TCP."""
    data = tmp_path / "data"
    async with killed_server(data, earlier) as (run, pid), orchestrator(data, worker_start=later) as service:
        assert (await wait_for_state(service, run)).state == "done"
        outputs = await service.results.outputs(run, None)
        assert {output["pid"] for output in outputs.values()} == {pid}, "one worker, which went on"
        assert "worker.crashed" not in await types_of(service, run)
