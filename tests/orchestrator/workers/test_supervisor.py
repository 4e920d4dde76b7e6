"""The supervisor on a store in memory, with zygotes whose workers are ended by the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import SpawnFailed, StaleFence, StoreUnusable
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import LookAtLog, StoreFailure, WorkerRequest
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.platform import processes
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Head
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration  # waits: it takes seconds


class FakeZygotes:
    """Forks workers that are no processes; `exit` ends one."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.exits: dict[str, Any] = {}
        self.forking = asyncio.Event()
        self.may_fork = asyncio.Event()
        self.may_fork.set()

    async def get(self, interpreter: str | None) -> FakeZygotes:
        if self.error is not None:
            raise self.error
        return self

    async def spawn(self, request: WorkerRequest, on_exit: Any) -> processes.Identity:
        self.forking.set()
        await self.may_fork.wait()
        self.exits[request.run] = on_exit
        return {**processes.myself(), "pid": 999_999_999, "created": 1.0}

    def exit(self, status: int, run: str = RUN) -> None:
        self.exits.pop(run)(999_999_999, status)


class FakeChannel:
    def __init__(self) -> None:
        self.sent: list[IpcMessage] = []

    def send(self, message: IpcMessage) -> None:
        self.sent.append(message)


class House:
    """A supervisor with one run in its store."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.head = store_run(self.store)
        self.zygotes = FakeZygotes()
        self.feed = ChangeFeed()
        settings = Settings(data_dir=folder, max_running=1, spawn_attempts=1, shutdown_timeout=0.2)
        self.supervisor = Supervisor(
            settings, self.store, RunProjections(self.store), self.feed, self.zygotes,
            address=folder / "s", to_thread=asyncio.to_thread, keys=KeyStore(folder),
        )  # fmt: skip

    def submit(self) -> None:
        self.supervisor.submitted(self.head, RunDefinition.from_json(self.store.definition(RUN)))

    async def started(self, run: str = RUN) -> None:
        await until(lambda: self.supervisor.processes.get(run) is not None)

    async def state_is(self, state: str) -> None:
        await until(lambda: self.store.head(RUN)["state"] == state)

    def end_run(self, state: str = "done") -> None:
        """What a worker writes before it exits."""
        lease = self.store.claim(RUN, processes.myself())
        self.store.commit(lease, Commit(events=[draft("run.done")], state=state, release=True))


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.supervisor.stop(drain=False)


async def test_a_run_has_a_worker_until_it_has_ended(house: House) -> None:
    house.submit()
    assert house.supervisor.has_run(RUN) and house.supervisor.live() == 1
    await house.started()
    assert house.supervisor.load()["running"] == 1
    house.end_run()
    house.zygotes.exit(ExitStatus.ORDERLY)
    await until(lambda: not house.supervisor.has_run(RUN))
    assert house.supervisor.live() == 0
    assert [e["type"] for e in house.store.events(RUN)] == ["run.created", "run.done"]


async def test_there_are_only_so_many_workers_and_the_others_wait(house: House) -> None:
    store_run(house.store, run="f" * 22)
    house.submit()
    await house.supervisor.attend("f" * 22)
    await house.started()
    assert house.supervisor.queue.position("f" * 22) == 1
    house.end_run()
    house.zygotes.exit(ExitStatus.ORDERLY)
    await house.started("f" * 22)


async def test_a_worker_that_crashes_is_replaced(house: House) -> None:
    house.submit()
    await house.started()
    first = house.supervisor.processes.get(RUN)
    house.zygotes.exit(-9)
    await until(lambda: house.supervisor.processes.get(RUN) not in (None, first))
    assert "worker.crashed" in [e["type"] for e in house.store.events(RUN)]


async def test_a_worker_that_cannot_be_started_ends_the_run_as_dead(house: House) -> None:
    house.zygotes.error = SpawnFailed("there is no room")
    house.submit()
    await house.state_is("dead")
    assert house.store.events(RUN)[-1]["data"]["error"]["message"] == "there is no room"


async def test_a_store_that_fails_is_nobodys_crash_and_people_are_told(house: House) -> None:
    house.submit()
    await house.started()
    worker = house.supervisor.processes.get(RUN)
    assert worker is not None
    worker.store_failure = StoreFailure("the disk is full", "Make room.")
    house.zygotes.exit(ExitStatus.STORE_FAILED)
    await until(lambda: house.supervisor.store_backoff.reason(RUN) is not None)
    assert "the disk is full. Make room." in house.supervisor.load()["held"][RUN]
    assert house.supervisor.has_run(RUN), "it is tried again"
    await until(lambda: "run.held" in [e["type"] for e in house.store.events(RUN)])
    await house.started()
    house.supervisor.clear_store_wait(RUN)
    assert house.supervisor.load()["held"] == {}
    assert "worker.crashed" not in [e["type"] for e in house.store.events(RUN)]


async def test_what_a_worker_could_not_hear_it_learns_when_it_connects(house: House) -> None:
    house.zygotes.may_fork.clear()
    house.submit()
    await house.zygotes.forking.wait()
    await house.supervisor.attend(RUN)  # somebody wrote to the run meanwhile
    house.zygotes.may_fork.set()
    await house.started()
    worker = house.supervisor.processes.get(RUN)
    assert worker is not None
    worker.channel = channel = FakeChannel()
    house.supervisor.connected(worker, adopted=False)
    await until(lambda: channel.sent == [LookAtLog()])
    house.supervisor.connected(worker, adopted=False)
    await asyncio.sleep(0.05)
    assert channel.sent == [LookAtLog()], "once"


async def test_a_stop_begins_nothing_and_lets_ends_be_recorded(house: House) -> None:
    """A start that is on its way is known afterwards, so that the worker is ended with the others."""
    house.zygotes.may_fork.clear()
    house.submit()
    await house.zygotes.forking.wait()
    stopping = asyncio.create_task(house.supervisor.stop())
    await asyncio.sleep(0.05)
    house.zygotes.may_fork.set()
    await until(lambda: house.supervisor.processes.get(RUN) is not None)
    house.zygotes.exit(ExitStatus.ORDERLY)
    await stopping
    assert house.supervisor.processes.get(RUN) is None
    await house.supervisor.attend(RUN)
    assert house.supervisor.processes.get(RUN) is None
    assert [e["type"] for e in house.store.events(RUN)] == ["run.created"]


async def test_a_store_that_cannot_be_read_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = house.store.head

    def fails(run: str) -> Any:
        monkeypatch.setattr(house.store, "head", whole)
        raise StoreUnusable("the disk sleeps")

    monkeypatch.setattr(house.store, "head", fails)
    await house.supervisor.attend(RUN)
    assert "the disk sleeps" in str(house.supervisor.store_backoff.get(RUN))
    await house.started()


async def test_a_server_that_reserved_a_run_is_never_its_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel would end it, with everything else that it does."""
    server: processes.Identity = {**processes.identity_of(os.getppid()), "node": "n1", "reserves": True}
    monkeypatch.setattr(processes, "end_group", lambda *args: pytest.fail("a server was ended"))
    house.store.claim(RUN, server)
    await house.supervisor.attend(RUN)
    await house.started()
    worker = house.supervisor.processes.get(RUN)
    assert worker is not None and worker.pid == 999_999_999


class OvertakenShare:
    """The share of a node that another one overtakes: its claim comes after that of the other."""

    def __init__(self) -> None:
        self.elsewhere = False

    def active(self) -> list[Head]:
        return []

    def is_elsewhere(self, head: Head) -> bool:
        return self.elsewhere

    async def take(self, head: Head) -> Head | None:
        return head

    def warmed_up(self) -> None:
        pass

    def has_room(self) -> None:
        pass


@pytest.mark.parametrize("fails_to_start", [False, True])
async def test_a_run_that_another_node_has_by_now_is_looked_at_again(
    house: House, monkeypatch: pytest.MonkeyPatch, fails_to_start: bool
) -> None:
    """The store did not fail, and nothing is written."""
    share = OvertakenShare()
    house.supervisor._share = house.supervisor.starts._share = share

    def overtaken(*args: Any, **more: Any) -> Any:
        share.elsewhere = True
        raise StaleFence("another was quicker")

    monkeypatch.setattr(house.store, "claim", overtaken)
    retried: list[object] = []
    monkeypatch.setattr(house.supervisor, "retry_store", lambda *args: retried.append(args))
    if fails_to_start:
        house.zygotes.error = SpawnFailed("there is no room")
        house.submit()
    else:
        house.submit()
        await house.started()
        house.zygotes.exit(-9)
    await until(lambda: share.elsewhere and not house.supervisor.has_run(RUN))
    assert retried == []
    assert [e["type"] for e in house.store.events(RUN)] == ["run.created"]
