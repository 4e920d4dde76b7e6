"""Starts: two limits, one for processes and one for runs that share one, and what is done when none can be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import SpawnFailed
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers import starts
from po_jupyter.orchestrator.workers.processes import WorkerHandle
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.platform import processes
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Head
from tests.support.engine import new_run

pytestmark = pytest.mark.integration  # waits

PROMPT = {"name": "a", "prompt": "hello"}
CODE = {"name": "a", "source": "def ingestion(ctx):\n    return 1\n"}


class FakeZygotes:
    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.error: Exception | None = None

    async def get(self, interpreter: str | None) -> FakeZygotes:
        if self.error is not None:
            raise self.error
        return self

    async def spawn(self, request: Any, on_exit: Any) -> processes.Identity:
        self.spawned.append(request.run)
        return {**processes.myself(), "pid": 999_999_900 + len(self.spawned), "created": 1.0}


class House:
    def __init__(self, folder: Path, *, shared_worker: bool = True) -> None:
        self.store = MemoryStore()
        self.zygotes = FakeZygotes()
        settings = Settings(
            data_dir=folder, default_model="fake:echo", max_running=1, max_shared_running=3, spawn_attempts=1,
            shared_worker=shared_worker,
        )  # fmt: skip
        self.supervisor = Supervisor(
            settings, self.store, RunProjections(self.store), ChangeFeed(), self.zygotes,
            address=folder / "s", to_thread=asyncio.to_thread, keys=KeyStore(folder),
        )  # fmt: skip

    async def attend(self, run: str, task: dict[str, Any]) -> str:
        new_run(self.store, {"name": "p", "tasks": [task]}, {}, run)
        await self.supervisor.attend(run)
        return run

    @property
    def at_work(self) -> dict[str, WorkerHandle]:
        return self.supervisor.processes.by_run


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.supervisor.stop(drain=False)


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_processes_and_runs_that_share_one_have_limits_of_their_own(house: House) -> None:
    for i in range(5):
        await house.attend(f"00a{i}", PROMPT)
        await house.attend(f"00b{i}", CODE)
    await until(lambda: len(house.at_work) == 4)
    assert sorted(house.at_work) == ["00a0", "00a1", "00a2", "00b0"]
    assert sorted(house.zygotes.spawned) == ["", "00b0"], "one process for the prompts"
    starts = house.supervisor.starts
    assert (starts.busy(), starts.busy_shared(), house.supervisor.busy()) == (1, 3, 4)
    assert (len(house.supervisor.queue), house.supervisor.queue.position("00a3")) == (6, 1)
    house.at_work["00a0"].resting = True
    house.supervisor.pump()
    await until(lambda: "00a3" in house.at_work)


async def test_a_run_that_counts_a_crash_has_a_process_of_its_own_from_then_on(house: House) -> None:
    """Also under a server that did not see it."""
    new_run(house.store, {"name": "p", "tasks": [PROMPT]}, {}, "00a1")
    lease = house.store.claim("00a1", {**processes.myself(), "pid": 999_999_999})
    house.store.commit(lease, Commit(events=[draft("worker.crashed", error={}, crashes=1)], release=True))
    await house.supervisor.attend("00a1")
    await until(lambda: "00a1" in house.at_work)
    assert house.at_work["00a1"].process is None


async def test_without_any_process_the_run_is_dead(house: House) -> None:
    house.zygotes.error = SpawnFailed("there is no room")
    run = await house.attend("00a1", PROMPT)
    await until(lambda: house.store.head(run)["state"] == "dead")
    assert house.store.events(run)[-1]["data"]["error"]["message"] == "there is no room"


async def test_a_run_is_queued_unread_where_each_has_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovery of thousands of runs with large seeds would read them all before anything else is done."""
    house = House(tmp_path, shared_worker=False)
    reads: list[str] = []
    launch_spec = starts.launch_spec

    def read(head: Head, *more: Any) -> starts.LaunchSpec:
        reads.append(head["run"])
        return launch_spec(head, *more)

    monkeypatch.setattr(starts, "launch_spec", read)
    for i in range(3):
        await house.attend(f"00a{i}", PROMPT)
    await until(lambda: len(house.at_work) == 1)
    assert (sorted(house.supervisor.queue.positions(9)), reads) == (["00a1", "00a2"], ["00a0"])
    await house.supervisor.stop(drain=False)


async def test_a_definition_that_cannot_be_read_harms_no_other_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the sweep, or have the lease given back again and again."""

    def broken(*args: Any) -> Any:
        raise ValueError("no such field")

    with monkeypatch.context() as patched:
        patched.setattr(starts, "launch_spec", broken)
        await house.attend("00a1", PROMPT)
        assert not house.supervisor.has_run("00a1")
    await house.attend("00a2", PROMPT)
    await until(lambda: "00a2" in house.at_work)
