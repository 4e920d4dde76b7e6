from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.distributed.pool import RunPool
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import EVERY_KIND, Head
from po_jupyter.testing.conformance.store import new_run


class Share:
    """Notes what it is to take up, most urgent first."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[str] = []

    def free(self) -> int:
        return self.room

    def has_room_for(self, head: Head) -> bool:
        return self.room > 0

    def window(self, free: int) -> int:
        return free

    def kinds(self) -> list[bool | None]:
        return [*EVERY_KIND]

    def candidates(self, heads: list[Head], free: int) -> list[Head]:
        waiting = [head for head in heads if head["holder"] is None]
        return sorted(waiting, key=lambda head: -head["priority"])

    async def take_up(self, head: Head) -> None:
        self.taken.append(head["run"])
        self.room -= 1


class Broker:
    works = True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=1)
    for run, priority in (("00a1", 0), ("00a2", 7)):
        store.create_run(new_run(run, priority=priority))
    yield store
    store.close()


async def taken(store: DiskStore, share: Any, hints: Any = None) -> RunPool:
    """After a look."""
    pool = RunPool(store, share, asyncio.to_thread, 5.0, hints)
    task = asyncio.create_task(pool.take_often())
    async with asyncio.timeout(10):
        while pool.queued is None:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return pool


async def test_as_many_runs_are_taken_as_there_is_room(store: DiskStore) -> None:
    share = Share(1)
    pool = await taken(store, share)
    assert share.taken == ["00a2"]
    assert (pool.queued, pool.running) == (2, 0)
    assert (pool.position("00a2"), pool.position("00a1"), pool.position("00a9")) == (1, 2, None)


async def test_without_room_only_the_places_are_known(store: DiskStore) -> None:
    share = Share(0)
    assert (await taken(store, share)).position("00a2") == 1
    assert share.taken == []


async def test_while_a_broker_answers_messages_say_what_to_take(store: DiskStore) -> None:
    share, broker = Share(2), Broker()
    await taken(store, share, broker)
    assert share.taken == []
    broker.works = False
    await taken(store, share, broker)
    assert share.taken == ["00a2", "00a1"]


async def test_what_has_waited_for_a_term_is_taken_all_the_same(store: DiskStore) -> None:
    """Its message may be behind many of another owner, or that nobody can take; one that is new waits for its own."""
    share = Share(1)
    pool = RunPool(store, share, asyncio.to_thread, 0.1, Broker())  # type: ignore[arg-type]
    await pool._take()
    store.create_run(new_run("00a3", priority=9))
    assert share.taken == []
    await asyncio.sleep(0.1)  # its term
    await pool._take()
    assert share.taken == ["00a2"]
    share.room = 1  # before the next term
    await pool._take()
    assert share.taken == ["00a2", "00a1"]


async def test_owners_have_their_turns_with_a_broker_too(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", shards=1)
    for number in range(5):
        store.create_run(new_run(f"00a{number}", owner="one"))
    store.create_run(new_run("00b0", owner="two"))
    share = Share(0)
    pool = RunPool(store, share, asyncio.to_thread, 0.1, Broker())  # type: ignore[arg-type]
    await pool._take()
    await asyncio.sleep(0.1)
    await pool._take()
    share.room = 2
    await pool._take()
    assert share.taken == ["00a0", "00b0"]
    store.close()


async def test_an_error_that_nobody_expects_does_not_end_the_search(store: DiskStore) -> None:
    class Broken(Share):
        def free(self) -> int:
            if not self.taken:
                self.taken.append("failed")
                raise KeyError("no such thing")
            return super().free()

    share = Broken(1)
    pool = RunPool(store, share, asyncio.to_thread, 0.1, None)  # type: ignore[arg-type]
    task = asyncio.create_task(pool.take_often())
    async with asyncio.timeout(10):
        while "00a2" not in share.taken:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
