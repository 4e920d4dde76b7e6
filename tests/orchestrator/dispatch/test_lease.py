"""The lease of a store: one orchestrator has it, and whose it is does not hang on clocks that are set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.orchestrator.dispatch import lease
from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease
from po_jupyter.platform import processes
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.keyed.memory import MemoryStore

ELSEWHERE = {"holder": "other", **processes.myself(), "host": "another machine", "count": 1}


class Server:
    """A server that wants the lease; `taken` and `lost` are set when it changes hands."""

    def __init__(self, store: MemoryStore, name: str = "me", ttl: float = 0.1) -> None:
        self.taken, self.lost = asyncio.Event(), asyncio.Event()
        self.begin: Callable[[], Awaitable[None]] | None = None
        self.lease = OrchestratorLease(
            store, ttl, holder=name, to_thread=asyncio.to_thread, on_taken=self._on_taken, on_lost=self._on_lost
        )

    async def _on_taken(self) -> None:
        if self.begin is not None:
            await self.begin()
        self.taken.set()

    async def _on_lost(self) -> None:
        self.lost.set()


async def within(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


class FailingStore(MemoryStore):
    """`swap` fails as often as `failures` says; with `written` what it wrote stays."""

    failures = 0
    written = False

    def swap(self, *args: Any) -> bool:
        if self.failures:
            self.failures -= 1
            if self.written:
                super().swap(*args)
            raise StoreUnusable("the disk is full")
        return super().swap(*args)


async def test_a_free_lease_is_taken_at_once_and_given_back_at_the_end() -> None:
    store = MemoryStore()
    server = Server(store, ttl=60)
    assert not server.lease.is_held
    await server.lease.start()
    assert server.lease.is_held
    assert server.taken.is_set()
    assert store.get(*ORCHESTRATOR_LEASE) == server.lease.document
    await server.lease.stop()
    assert (store.get(*ORCHESTRATOR_LEASE), server.lease.is_held) == (None, False)


async def test_a_holder_renews_it_and_another_server_waits() -> None:
    store = MemoryStore()
    first, second = Server(store, "first"), Server(store, "second")
    await first.lease.start()
    await second.lease.start()
    assert not second.lease.is_held
    async with asyncio.timeout(10):
        while (store.get(*ORCHESTRATOR_LEASE) or {}).get("count", 0) < 8:  # longer than its term
            await asyncio.sleep(0.01)
    assert first.lease.is_held
    assert not second.taken.is_set()
    await first.lease.stop()
    await within(second.taken)
    await second.lease.stop()


async def test_a_holder_that_is_gone_frees_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 5: a crash is no wait of a term; a process of another machine cannot be asked."""
    store = MemoryStore()
    dead = {**processes.myself(), "holder": "other", "count": 1}
    store.put(*ORCHESTRATOR_LEASE, dead)
    server = Server(store, ttl=600)
    await server.lease.start()
    assert not server.lease.is_held, "it lives"
    await server.lease.stop()
    monkeypatch.setattr(processes, "alive", lambda identity: False)
    server = Server(store, ttl=600)
    await server.lease.start()
    assert server.lease.is_held
    await server.lease.stop()
    store.put(*ORCHESTRATOR_LEASE, ELSEWHERE)
    server = Server(store, ttl=600)
    await server.lease.start()
    assert not server.lease.is_held
    assert server.lease.document == ELSEWHERE
    await server.lease.stop()
    assert store.get(*ORCHESTRATOR_LEASE) == ELSEWHERE, "somebody else's is not given back"


class Clock:
    """A monotonic clock that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_a_lease_lapses_by_looks_and_not_by_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that slept for an hour has not watched anybody for an hour."""
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    store = MemoryStore()
    store.put(*ORCHESTRATOR_LEASE, ELSEWHERE)
    server = Server(store, ttl=3)
    step = server.lease._step
    await step()
    for _ in range(3):
        clock.now += 3600
        await step()
        assert not server.lease.is_held, "each look counts for a second"
    store.put(*ORCHESTRATOR_LEASE, {**ELSEWHERE, "count": 2})
    for _ in range(4):
        clock.now += 1
        await step()
        assert not server.lease.is_held, "it was renewed"
    clock.now += 1
    await step()
    assert server.lease.is_held
    clock.now += 3
    assert not server.lease.is_held, "it was not renewed in time"


async def test_who_lost_it_stops_at_the_next_renewal() -> None:
    """P3: two orchestrators of one store would start every run twice."""
    store = MemoryStore()
    server = Server(store)
    await server.lease.start()
    store.put(*ORCHESTRATOR_LEASE, ELSEWHERE)
    await within(server.lost)
    assert not server.lease.is_held
    await server.lease.stop()


async def test_a_holder_that_cannot_begin_leaves_it_to_others_and_tries_again() -> None:
    store = MemoryStore()
    server = Server(store)
    tries = 0

    async def begin() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            assert store.get(*ORCHESTRATOR_LEASE) is not None
            raise ValueError("a fault of ours")

    server.begin = begin
    with pytest.raises(ValueError, match="fault"):
        await server.lease.start()
    assert server.lost.is_set()
    assert store.get(*ORCHESTRATOR_LEASE) is None
    await server.lease.start()
    assert server.lease.is_held
    await server.lease.stop()


async def test_what_was_begun_has_ended_before_a_loss_is_known() -> None:
    """P3: it would start services after everything was closed, which nobody closes then."""
    store = MemoryStore()
    server = Server(store)
    order: list[str] = []
    began = asyncio.Event()

    async def begin() -> None:
        began.set()
        try:
            await asyncio.Event().wait()  # a recovery that takes long
        finally:
            await asyncio.sleep(0)  # to end takes it a moment
            order.append("ended, lost before" if server.lost.is_set() else "ended")

    server.begin = begin
    starting = asyncio.create_task(server.lease.start())
    await within(began)
    store.put(*ORCHESTRATOR_LEASE, ELSEWHERE)
    await within(server.lost)
    async with asyncio.timeout(10):
        await starting
    assert order == ["ended"]
    assert not server.taken.is_set()
    assert not server.lease.is_held
    await server.lease.stop()
    assert store.get(*ORCHESTRATOR_LEASE) == ELSEWHERE


async def test_a_disk_that_fails_for_a_moment_loses_no_lease() -> None:
    """A renewal that was written and said to have failed is still its own."""
    for written in (False, True):
        store = FailingStore()
        server = Server(store)
        await server.lease.start()
        store.written, store.failures = written, 1
        async with asyncio.timeout(10):
            while (
                store.failures
                or (store.get(*ORCHESTRATOR_LEASE) or {}).get("count", 0) < 3
                or not server.lease.is_held
            ):
                await asyncio.sleep(0.01)
        await server.lease.stop()
        assert store.get(*ORCHESTRATOR_LEASE) is None


async def test_a_lease_lapses_by_the_term_of_who_holds_it() -> None:
    """A leader that renews every 10 s is not gone after the 0.1 s of this server."""
    store = MemoryStore()
    await asyncio.to_thread(store.put, *ORCHESTRATOR_LEASE, {**ELSEWHERE, "ttl": 0.6})
    server = Server(store)
    began = asyncio.get_running_loop().time()
    await server.lease.start()
    await within(server.taken)
    assert asyncio.get_running_loop().time() - began > 0.5
    assert (server.lease.document or {})["ttl"] == 0.1
    await server.lease.stop()
