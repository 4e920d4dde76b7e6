"""A process of many runs, in this process, with an orchestrator that is a list; with real ones: test_shared_workers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel, Listener
from po_jupyter.ipc.messages import (
    DrainWorker,
    RunLeft,
    SharedHello,
    StopWorker,
    TakeRun,
    WorkerFinished,
    WorkerRequest,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.worker.main import work_off
from po_jupyter.worker.turns import TurnLoop
from tests.support.engine import new_run

pytestmark = pytest.mark.integration

RATES: Any = {"epoch": "e", "limited": []}


class FakeOrchestrator:
    def __init__(self, address: Path) -> None:
        self.listener = Listener(address, self._serve)
        self.channel: Channel | None = None
        self.left: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.changed = asyncio.Event()

    async def _serve(self, channel: Channel, first: IpcMessage) -> None:
        assert isinstance(first, SharedHello)
        self.channel = channel
        self.changed.set()
        while (addressed := await channel.receive_addressed()) is not None:
            message, run = addressed
            if run is not None and isinstance(message, RunLeft):
                self.left[run] = message.status
            if run is not None and isinstance(message, WorkerFinished):
                self.states[run] = message.state
            self.changed.set()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    def take(self, run: str, expect: int | None = 0) -> None:
        assert self.channel is not None
        self.channel.send(TakeRun(run, expect, False, RATES), run)


def play(tmp_path: Path, scene: Callable[[FakeOrchestrator, DiskStore], Awaitable[None]]) -> int:
    """The exit status of the process after the scene."""
    store = DiskStore(tmp_path / "store", shards=2)
    request = WorkerRequest(
        run="", expect=None, address=str(tmp_path / "s"), watched=False, shards=2, settings={}, cwd=None, log="",
        env={}, log_token=None, turns=str(tmp_path / "runtime"),
    )  # fmt: skip
    loop = TurnLoop()

    async def run() -> int:
        fake = FakeOrchestrator(tmp_path / "s")
        await fake.listener.start()
        working = asyncio.create_task(work_off(request, Settings(data_dir=tmp_path, lease_ttl=5.0), store))
        await fake.until(lambda: fake.channel)
        await scene(fake, store)
        status = await asyncio.wait_for(working, 20)
        await fake.listener.close()
        return int(status)

    before = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run())
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
        loop.close()
        asyncio.set_event_loop(None)
        store.close()


def run_of(store: DiskStore, run: str, model: str = "fake:echo", **more: Any) -> str:
    tasks = [{"name": "a", "prompt": f"{run} {{{{ seed.text }}}}", **more}]
    new_run(store, {"name": "p", "llm": {"model": model}, "tasks": tasks}, {"text": "x"}, run)
    return run


def test_runs_are_worked_off_together_and_each_says_that_it_left(tmp_path: Path) -> None:
    async def scene(fake: FakeOrchestrator, store: DiskStore) -> None:
        runs = [run_of(store, f"00a{i}") for i in range(12)]
        for run in runs:
            fake.take(run)
        await fake.until(lambda: len(fake.left) == 12)
        assert set(fake.left.values()) == {0} and set(fake.states.values()) == {"done"}
        assert {store.head(run)["state"] for run in runs} == {"done"}
        assert fake.channel is not None
        fake.channel.send(DrainWorker())

    assert play(tmp_path, scene) == 0


def test_what_happens_to_one_run_is_its_own_matter(tmp_path: Path) -> None:
    """One taken by somebody else before, one during its work, one that is drained; one goes on."""

    async def scene(fake: FakeOrchestrator, store: DiskStore) -> None:
        slow = "fake:echo?latency=0.5"
        runs = [run_of(store, f"00a{i}", slow) for i in range(4)]
        late, taken, drained, whole = runs
        fake.take(late, expect=7)
        for run in (taken, drained, whole):
            fake.take(run)
        await fake.until(lambda: late in fake.left)
        assert fake.left == {late: 70}
        while any(
            (store.head(run)["holder"] or {}).get("shared") is not True for run in (taken, drained, whole)
        ):
            await asyncio.sleep(0.01)
        assert fake.channel is not None
        fake.channel.send(StopWorker(), taken)
        fake.channel.send(DrainWorker(), drained)
        await fake.until(lambda: taken in fake.left)
        assert fake.left[taken] == 70
        await fake.until(lambda: len(fake.left) == 4)
        assert fake.left[whole] == 0 and fake.states[whole] == "done"
        assert fake.left[drained] == 0
        await fake.channel.close()

    assert play(tmp_path, scene) == 0, "without a run and an orchestrator it ends"


def test_one_whose_last_run_ends_without_an_orchestrator_waits_for_none(tmp_path: Path) -> None:
    """It is idle, and nothing is left to be given back: what comes next starts a process of its own."""

    async def scene(fake: FakeOrchestrator, store: DiskStore) -> None:
        run = run_of(store, "00a1", "fake:echo?latency=3")
        fake.take(run)
        while not store.head(run)["holder"]:
            await asyncio.sleep(0.01)
        await fake.listener.close()
        while store.head(run)["state"] != "done":
            await asyncio.sleep(0.05)

    assert play(tmp_path, scene) == 0, "long before its orphan timeout"


def test_a_map_that_is_large_is_given_back_to_be_worked_off_alone(tmp_path: Path) -> None:
    async def scene(fake: FakeOrchestrator, store: DiskStore) -> None:
        run = run_of(store, "00a1", for_each="{{ range(1001) | list }}")
        fake.take(run)
        await fake.until(lambda: run in fake.left)
        assert fake.left == {run: 75} and fake.states == {run: "released"}
        assert store.head(run)["holder"] is None
        assert not [call for record in store.records(run) for call in record["calls"]], "nothing was sent"
        assert fake.channel is not None
        fake.channel.send(DrainWorker())

    assert play(tmp_path, scene) == 0


def test_a_run_that_is_taken_back_before_its_first_step_leaves_too(tmp_path: Path) -> None:
    async def scene(fake: FakeOrchestrator, store: DiskStore) -> None:
        run = run_of(store, "00a1")
        fake.take(run)
        assert fake.channel is not None
        fake.channel.send(StopWorker(), run)  # in one piece with the other
        await fake.until(lambda: run in fake.left)
        assert fake.left == {run: 70}
        fake.take(run)
        await fake.until(lambda: run in fake.states)
        assert fake.states == {run: "done"}
        fake.channel.send(DrainWorker())

    assert play(tmp_path, scene) == 0
