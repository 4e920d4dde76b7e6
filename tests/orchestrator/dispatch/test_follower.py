"""A follower shows what the holder says, and what the store says while the holder is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_jupyter.ipc import channel
from po_jupyter.ipc.messages import CallWait, NotifyReply, OrchestratorLoad
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.orchestrator.dispatch.follower import Follower
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.submission.request import check_submission, new_run, parse_submission
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.orchestrator import body, task

pytestmark = pytest.mark.integration


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def follower(store: MemoryStore, tmp_path: Path) -> AsyncIterator[Follower]:
    """One whose holder does not answer."""
    found = Follower(store, ChangeFeed(), asyncio.to_thread, channel.address_of(tmp_path))
    yield found
    await found.close()


def create(store: MemoryStore, priority: int = 0) -> str:
    submission = parse_submission(body(task("one"), priority=priority))
    pipeline, seed = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
    head, _ = store.create_run(new_run(submission, pipeline, seed, "a"))
    return head["run"]


async def test_before_it_starts_it_knows_nothing(follower: Follower) -> None:
    assert follower.load() == {"running": None, "queued": None}
    assert follower.live_runs() == 0
    assert follower.position("x") is None
    assert follower.waiting_reason("x") is None
    assert not follower.is_holder


async def test_a_silent_holder_s_queue_is_counted_from_the_store(
    follower: Follower, store: MemoryStore
) -> None:
    """B14."""
    first, urgent, taken = create(store), create(store, priority=5), create(store)
    store.claim(taken, {"pid": 1, "host": "h", "boot": "b", "created": 1.0})
    await follower.start()
    async with asyncio.timeout(5):
        while follower.load()["queued"] is None or not follower.live_runs():
            await asyncio.sleep(0.01)
    assert follower.load()["queued"] is not None
    assert follower.position(urgent) == 1
    assert follower.position(first) == 2
    assert follower.live_runs() == 3


async def test_who_subscribes_hears_of_what_others_write(store: MemoryStore, tmp_path: Path) -> None:
    """P1: the heads are polled while somebody subscribes."""
    changes = ChangeFeed()
    follower = Follower(store, changes, asyncio.to_thread, channel.address_of(tmp_path))
    run = create(store)
    await follower.start()
    async with changes.subscribe(run) as notes, asyncio.timeout(5):
        note = await notes.get(5)
        assert note is not None
        assert (note.kind, note.run) == ("changed", run)
    await follower.close()


@pytest.mark.parametrize("newer", [True, False])
async def test_what_runs_wait_for_is_told_by_the_holder(
    store: MemoryStore, tmp_path: Path, newer: bool
) -> None:
    """B14: an older holder tells less, and what it tells is used."""
    wait: CallWait = {
        "run": "r", "model": "openai:x", "calls": 2, "seconds": None, "waited": 3.0, "reason": "openai (its turn)",
    }  # fmt: skip
    load: OrchestratorLoad = {
        "running": 1,
        "queued": 1,
        "positions": {"q": 1},
        "held": {"h": "the disk is full"},
    }
    if newer:
        load |= {"waits": [wait], "rates": {"openai": {"requests": 5}}}

    async def holder(link: channel.Channel, first: IpcMessage) -> None:
        link.send(NotifyReply(load))
        await link.drain()

    listener = channel.Listener(channel.address_of(tmp_path), holder)
    await listener.start()
    follower = Follower(store, ChangeFeed(), asyncio.to_thread, channel.address_of(tmp_path))
    assert follower.waits() == {"calls": [], "store": {}, "queue": {}}
    assert follower.rate_limits() is None
    assert await follower.notify(None)
    calls = [wait] if newer else []
    assert follower.waits() == {"calls": calls, "store": {"h": "the disk is full"}, "queue": {"q": 1}}
    assert follower.rate_limits() == ({"openai": {"requests": 5}} if newer else None)
    await listener.close()


async def test_what_nobody_hears_is_no_error(follower: Follower, store: MemoryStore) -> None:
    """P1: the next holder finds the run in the store."""
    await follower.changed(create(store))
