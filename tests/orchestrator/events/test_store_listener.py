"""What other processes write reaches whoever watches, when the store says so and also when it lost the thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from po_jupyter.orchestrator.events import store_listener
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.events.store_listener import StoreListener
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.orchestrator import orchestrator
from tests.support.postgres import postgres_server


class HearingStore(MemoryStore):
    """A store that says what the test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[Callable[[str], None]] = []

    def listen(self, on_change: Callable[[str], None]) -> Callable[[], None]:
        self.callbacks.append(on_change)
        return lambda: self.callbacks.remove(on_change)

    def change(self, *runs: str) -> None:
        """In a thread that is not the loop's."""

        def call() -> None:
            for run in runs:
                for callback in self.callbacks:
                    callback(run)

        thread = Thread(target=call)
        thread.start()
        thread.join()


async def test_changes_come_in_order_each_once(tmp_path: Path) -> None:
    """P8."""
    store, changes, heard = HearingStore(), ChangeFeed(), []
    changes.add_listener(heard.append)
    listener = StoreListener(store, changes, asyncio.to_thread)
    listener.start()
    store.change("00a1", "00a2", "00a1")
    async with asyncio.timeout(5):
        while len(heard) < 2:
            await asyncio.sleep(0)
    assert heard == ["00a1", "00a2"]
    await listener.close()
    assert store.callbacks == []


async def test_many_changes_wake_the_loop_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node hears of each commit of all: the first goes at once, those behind it together."""
    monkeypatch.setattr(store_listener, "_PAUSE", 0.2)
    store, changes, heard = HearingStore(), ChangeFeed(), []
    changes.add_listener(heard.append)
    listener = StoreListener(store, changes, asyncio.to_thread)
    listener.start()
    loop, began = asyncio.get_running_loop(), time.monotonic()
    woken: list[object] = []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *call, **named: (woken.append(call), wake(*call, **named))[1]
    )
    store.change("00a1")
    async with asyncio.timeout(5):
        while heard != ["00a1"]:
            await asyncio.sleep(0)
        assert time.monotonic() - began < 0.2
        for _ in range(50):
            store.change("00a2", "00a1", "00a3")
            await asyncio.sleep(0)
        assert heard == ["00a1"], "nobody is told before its time"
        while len(heard) < 4:
            await asyncio.sleep(0.001)
    assert heard == ["00a1", "00a2", "00a1", "00a3"]
    assert len(woken) == 2
    store.change("00a4")
    await asyncio.sleep(0)
    await listener.close()
    assert len(heard) == 4, "nothing comes after the end"


async def test_after_a_loss_whatever_is_watched_or_goes_on_is_looked_at(tmp_path: Path) -> None:
    """P1, P8."""
    store, changes = HearingStore(), ChangeFeed()
    for run in ("00a1", "00a2", "00a3"):
        store.create_run(new_run(run))
    for run in ("00a1", "00a2"):
        store.request(run, [event("run.done")], state="done")
    listener = StoreListener(store, changes, asyncio.to_thread)
    heard: set[str] = set()
    changes.add_listener(heard.add)
    listener.start()
    for watched, runs in (((), {"00a3"}), (("00a1",), {"00a1", "00a3"}), ((None,), {"00a1", "00a2", "00a3"})):
        heard.clear()
        async with asyncio.timeout(5):
            contexts = [changes.subscribe(run) for run in watched]
            for context in contexts:
                await context.__aenter__()
            store.change("")
            while heard != runs:
                await asyncio.sleep(0.001)
            for context in contexts:
                await context.__aexit__(None, None, None)
    await listener.close()


async def test_a_store_that_hears_nothing_is_left_alone() -> None:
    listener = StoreListener(MemoryStore(), ChangeFeed(), asyncio.to_thread)
    listener.start()
    await listener.close()


@pytest.mark.integration
async def test_a_stream_of_another_server_wakes_at_once(tmp_path: Path) -> None:
    """P8: below the quarter of a second after which a server that cannot hear looks."""
    with postgres_server() as server:
        url = server.url("s")
        store = PostgresStore(url)
        async with (
            orchestrator(tmp_path / "a", store=url) as one,
            orchestrator(tmp_path / "b", store=url) as two,
        ):
            assert [one.dispatcher.is_holder, two.dispatcher.is_holder] == [True, False]
            await asyncio.to_thread(store.create_run, new_run("00a1"))
            delays = []
            async with two.changes.subscribe("00a1") as stream:
                await asyncio.sleep(0.5)  # what is of the beginning has come
                while await stream.get(0.01):
                    pass
                for _ in range(10):
                    began = time.monotonic()
                    await asyncio.to_thread(store.request, "00a1", [event("x")])
                    assert await stream.get(10) is not None
                    delays.append(time.monotonic() - began)
            assert sorted(delays)[5] < 0.1
        store.close()


async def test_a_run_that_ended_while_the_line_was_cut_is_published() -> None:
    """Whoever only listens (notifications, metrics) subscribes to no run."""
    store, changes = HearingStore(), ChangeFeed()
    heard: set[str] = set()
    changes.add_listener(heard.add)
    listener = StoreListener(store, changes, asyncio.to_thread)
    listener.start()

    async def published(said: str, *runs: str) -> None:
        heard.clear()
        store.change(said)
        async with asyncio.timeout(5):
            while heard != set(runs):
                await asyncio.sleep(0.001)

    store.create_run(new_run("00a1"))
    await published("", "00a1")  # the first look
    store.create_run(new_run("00a2"))
    await published("00a2", "00a2")
    for run in ("00a1", "00a2"):
        store.request(run, [event("run.done")], state="done")  # heard by nobody
    await published("", "00a1", "00a2")
    store.create_run(new_run("00a3"))
    await published("", "00a3")  # those are known to have ended
    await listener.close()
