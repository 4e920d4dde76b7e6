"""Local and follower are swapped in one place, and nobody is ever without a dispatcher."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.dispatch.leased import LeasedDispatcher
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.keyed.memory import MemoryStore

RUN = "0123456789abcdef012345"


class Side:
    """A dispatcher that writes down what it is told."""

    def __init__(self, journal: list[str], name: str, *, holds: bool, broken: bool = False) -> None:
        self.journal, self.name, self.broken = journal, name, broken
        self.is_holder = self.checks_environment = holds

    async def start(self) -> None:
        self.journal.append(f"{self.name} starts")
        if self.broken:
            raise StoreUnusable("no")

    async def close(self, *, drain: bool = False) -> None:
        self.journal.append(f"{self.name} drains" if drain else f"{self.name} ends")

    async def submitted(self, head: Any, definition: RunDefinition) -> None:
        self.journal.append(f"{self.name} has {head['run']}")

    async def changed(self, run: str) -> None:
        self.journal.append(f"{self.name} hears of {run}")

    def load(self) -> dict[str, int]:
        return {"running": int(self.is_holder), "queued": 0}


class Server:
    """One server of a store; `journal` is what its sides were told."""

    def __init__(self, store: MemoryStore, *, broken: bool = False) -> None:
        self.journal: list[str] = []
        self.changes = ChangeFeed()
        self.dispatcher = LeasedDispatcher(
            store,
            self.changes,
            lease_ttl=0.3,
            to_thread=asyncio.to_thread,
            hold=lambda: cast("Any", Side(self.journal, "local", holds=True, broken=broken)),
            follow=lambda: cast("Any", Side(self.journal, "follower", holds=False)),
        )


async def test_who_finds_the_lease_free_has_the_workers() -> None:
    server = Server(MemoryStore())
    assert not server.dispatcher.is_holder, "before the start nobody here has workers"
    await server.dispatcher.start()
    assert server.dispatcher.is_holder
    assert server.dispatcher.checks_environment
    assert server.dispatcher.load() == {"running": 1, "queued": 0}
    await server.dispatcher.close()
    assert server.journal == ["follower ends", "local starts", "local drains", "follower ends"]
    assert server.dispatcher.is_closed


async def test_a_change_is_published_before_somebody_acts_on_it() -> None:
    """P1: a stream looks at the store, whoever has the workers."""
    server = Server(MemoryStore())
    async with server.changes.subscribe(RUN) as notes:
        await server.dispatcher.changed(RUN)
        note = await notes.get(0)
    assert note is not None
    assert note.kind == "changed"
    assert server.journal == [f"follower hears of {RUN}"]


async def test_a_lease_that_another_takes_makes_a_follower() -> None:
    """DESIGN 5: the workers live on, so they are not drained."""
    store = MemoryStore()
    server = Server(store)
    await server.dispatcher.start()
    mine = store.get(*ORCHESTRATOR_LEASE)
    assert store.swap(*ORCHESTRATOR_LEASE, mine, {**mine, "holder": "another"})
    async with asyncio.timeout(5):
        while server.dispatcher.is_holder:
            await asyncio.sleep(0.01)
    assert server.journal[-2:] == ["local ends", "follower starts"]
    await server.dispatcher.close()


async def test_the_second_follows_until_the_first_gives_the_lease_back() -> None:
    store = MemoryStore()
    first, second = Server(store), Server(store)
    await first.dispatcher.start()
    await second.dispatcher.start()
    assert not second.dispatcher.is_holder
    assert second.dispatcher.lease_document == first.dispatcher.lease_document
    await first.dispatcher.close()
    async with asyncio.timeout(5):
        while not second.dispatcher.is_holder:
            await asyncio.sleep(0.01)
    assert second.journal == ["follower starts", "follower ends", "local starts"]
    await second.dispatcher.close()


async def test_a_holder_that_cannot_begin_gives_the_lease_back() -> None:
    """Nobody holds the store and does nothing with it."""
    store = MemoryStore()
    server = Server(store, broken=True)
    with pytest.raises(StoreUnusable):
        await server.dispatcher.start()
    assert store.get(*ORCHESTRATOR_LEASE) is None
    assert not server.dispatcher.is_holder
    await server.dispatcher.close()
