from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.distributed import queue_hints
from po_jupyter.distributed.brokers.protocol import RunMessage, Verdict
from po_jupyter.distributed.queue_hints import QueueHints, level
from po_jupyter.errors import BrokerUnavailable
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit, Head, waits_for_worker
from po_jupyter.testing.conformance.store import new_run
from po_jupyter.testing.memory_queue import MemoryQueue


def test_priorities_of_runs_become_those_of_messages() -> None:
    levels = [level(priority) for priority in range(-100, 101)]
    assert levels == sorted(levels)
    assert (level(-100), level(-1), level(0), level(1), level(100)) == (0, 3, 4, 5, 9)
    assert set(levels) == set(range(10))


class Share:
    """Takes what it is offered while it has room."""

    def __init__(self, store: DiskStore, room: int = 1, *, fits: bool = True) -> None:
        self._store = store
        self.room = room
        self.fits = fits
        self.taken: list[str] = []

    def free(self) -> int:
        return self.room

    def has_room_for(self, head: Head) -> bool:
        return self.room > 0

    def may_fit(self, run: str) -> bool:
        return self.fits

    async def take_up(self, head: Head) -> None:
        if self.fits:
            self._store.claim(
                head["run"], {"pid": 1, "created": None, "boot": "", "host": ""}, expect=head["fence"]
            )
            self.taken.append(head["run"])
            self.room -= 1


class DownQueue(MemoryQueue):
    def publish(self, message: RunMessage) -> None:
        raise BrokerUnavailable("no broker")

    def ping(self) -> None:
        raise BrokerUnavailable("no broker")


class FlakyQueue(MemoryQueue):
    is_up = False

    def publish(self, message: RunMessage) -> None:
        if not self.is_up:
            raise BrokerUnavailable("no broker")
        super().publish(message)

    def ping(self) -> None:
        if not self.is_up:
            raise BrokerUnavailable("no broker")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=1)
    store.create_run(new_run("00a1"))
    yield store
    store.close()


def hints(
    store: DiskStore,
    share: Any,
    queue: MemoryQueue | None = None,
    ttl: float = 5.0,
    there: Iterable[str] = (),
) -> QueueHints:
    """Of a node; `there` are the labels of another one."""
    queue = queue or MemoryQueue()
    return QueueHints(
        lambda: queue, store, share, asyncio.to_thread, labels=(), ttl=ttl,
        node_labels=lambda: [frozenset(), frozenset(there)],
    )  # fmt: skip


def labelled(store: DiskStore, run: str, *labels: str) -> Head:
    """A run that waits for a node with these labels, as an earlier version may have let one in."""
    new = new_run(run)
    options = {**new.definition.get("options", {}), "labels": list(labels)}
    store.create_run(new._replace(definition={**new.definition, "options": options}))
    return store.head(run)


async def test_a_message_is_answered_when_the_claim_is_decided(store: DiskStore) -> None:
    share = Share(store)
    node = hints(store, share)
    assert await node.offer("00a1") is Verdict.TAKEN
    assert await node.offer("00a1") is Verdict.BACK  # no room, and not looked at
    share.room = 1
    assert await node.offer("00a1") is Verdict.TAKEN  # a second copy finds the claim
    assert await node.offer("00ff") is Verdict.TAKEN  # there is no such run
    assert share.taken == ["00a1"]


async def test_a_message_waits_a_moment_for_room(store: DiskStore) -> None:
    share = Share(store, room=0)
    node = hints(store, share)
    offered = asyncio.create_task(node.offer("00a1"))
    await asyncio.sleep(0)
    share.room = 1
    node.has_room()
    assert await offered is Verdict.TAKEN


async def test_what_this_node_cannot_do_goes_back(store: DiskStore) -> None:
    assert await hints(store, Share(store, fits=False)).offer("00a1") is Verdict.BACK


async def test_what_nobody_takes_does_not_come_first_for_ever(store: DiskStore, moments: list[float]) -> None:
    """Urgent runs that no node can work off kept all others from being heard of."""
    node = hints(store, Share(store, fits=False))
    assert [await node.offer("00a1") for _ in range(7)] == [Verdict.BACK] * 5 + [Verdict.TAKEN] * 2
    moments[0] += 61.0
    assert await node.offer("00a1") is Verdict.BACK


async def test_a_run_that_waits_for_long_is_published_again(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [0.0]
    monkeypatch.setattr(queue_hints.time, "monotonic", lambda: moments[0])
    queue = MemoryQueue()
    node = hints(store, Share(store), queue)
    heads = store.active()
    assert waits_for_worker(heads[0])
    await node.publish_again(heads, len(heads))
    assert sum(queue.depths().values()) == 0  # its own message may be on its way
    moments[0] = 16.0
    await node.publish_again(heads, len(heads))
    moments[0] = 32.0
    await node.publish_again(heads, len(heads))
    assert sum(queue.depths().values()) == 1  # it is there


async def test_a_run_that_somebody_had_is_published_at_once_and_once(store: DiskStore) -> None:
    """Of a node that died or drains: its message was answered long ago, and no other node would hear of it."""
    queue = MemoryQueue()
    node = hints(store, Share(store), queue)
    lease = store.claim("00a1", processes.myself())
    store.commit(lease, Commit(release=True))
    heads = store.active()
    for _ in range(3):
        await node.publish_again(heads, len(heads))
        assert sum(queue.depths().values()) == 1


@pytest.mark.parametrize("is_new", [True, False])
async def test_what_the_broker_did_not_take_is_published_when_it_is_back(
    store: DiskStore, is_new: bool
) -> None:
    """The other nodes may not have noticed that it was away, and wait for a message."""
    queue = FlakyQueue()
    node = hints(store, Share(store), queue)
    if is_new:
        await node.publish(store.head("00a1"))
    else:
        store.commit(store.claim("00a1", processes.myself()), Commit(release=True))
        await node.publish_again(store.active(), 1)
    await node.look()
    assert sum(queue.depths().values()) == 0
    queue.is_up = True
    for _ in range(2):
        await node.look()
        assert sum(queue.depths().values()) == 1


async def test_without_a_broker_the_store_says_what_waits(store: DiskStore) -> None:
    node = hints(store, Share(store), DownQueue())
    await node.publish(store.head("00a1"))
    assert not node.works
    await node.look()
    assert not node.works
    assert await node.report() == {"works": True, "depths": MemoryQueue().depths()}


async def test_a_broker_that_is_silent_is_said_to_be_so_before_a_probe_gives_up(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ready` said that the store gave no answer, and was 503, until the broker's own time-out had passed."""
    monkeypatch.setattr(queue_hints, "_PATIENCE", 0.05)
    silent = threading.Event()

    class SilentQueue(MemoryQueue):
        def depths(self) -> Mapping[str, int]:
            silent.wait(30)
            return {}

    node = hints(store, Share(store), SilentQueue())
    async with asyncio.timeout(10):
        assert await node.report() == {"works": False, "depths": None}
    silent.set()


async def test_messages_of_a_queue_are_taken(store: DiskStore) -> None:
    queue, share = MemoryQueue(), Share(store)
    node = hints(store, share, queue)
    await node.start(consumes=True)
    await node.publish(store.head("00a1"))
    async with asyncio.timeout(10):
        while not share.taken:
            await asyncio.sleep(0.01)
    await node.close()
    assert waits_for_worker(store.head("00a1")) is False


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    moments = [0.0]
    monkeypatch.setattr(queue_hints.time, "monotonic", lambda: moments[0])
    return moments


async def test_a_run_with_many_labels_is_published_like_any(store: DiskStore) -> None:
    """Its message has some of them: the node that takes it looks at the run itself."""
    queue = MemoryQueue()
    labels = [f"l{number:02}" for number in range(20)]
    node = hints(store, Share(store), queue, there=labels)
    await node.publish(labelled(store, "00a2", *labels))
    assert sum(queue.depths().values()) == 1
    assert node.problem() is None


async def test_a_run_that_cannot_be_published_keeps_none_behind_it(
    store: DiskStore, moments: list[float]
) -> None:
    class Choosy(MemoryQueue):
        def publish(self, message: RunMessage) -> None:
            if message.labels:
                raise ValueError("a label that no message can have")
            super().publish(message)

    queue = Choosy()
    node = hints(store, Share(store), queue, there=["odd"])
    labelled(store, "0001", "odd")
    for moments[0] in (0.0, 16.0):
        await node.publish_again(store.active(), len(store.active()))
    assert sum(queue.depths().values()) == 1
    assert node.problem() is None  # the broker has done nothing wrong


async def test_labels_that_no_node_has_make_no_queues(store: DiskStore, moments: list[float]) -> None:
    """Whoever submits runs makes up labels, and a broker keeps a queue of each. Once a node has one, it hears of it."""
    there: set[str] = set()
    queue = MemoryQueue()
    node = hints(store, Share(store), queue, there=there)
    for number in range(5):
        await node.publish(labelled(store, f"00b{number}", f"made-up-{number}"))
    await node.publish(store.head("00a1"))
    assert sum(queue.depths().values()) == 1
    for moments[0] in (0.0, 16.0):
        await node.publish_again(store.active(), len(store.active()))
    before = sum(queue.depths().values())
    assert before <= 2  # the other one may be published again, once
    moments[0] = 60.0
    await node.publish_again(store.active(), len(store.active()))
    assert sum(queue.depths().values()) == before
    there.add("made-up-3")
    await node.publish_again(store.active(), len(store.active()))
    await node.publish_again(store.active(), len(store.active()))
    assert sum(queue.depths().values()) == before + 1


async def test_nothing_is_kept_of_runs_that_were_published(store: DiskStore) -> None:
    """By a node that does not lead: nobody would ever forget them there."""
    node = hints(store, Share(store))
    before = {name: len(value) for name, value in vars(node).items() if isinstance(value, set | dict)}
    for number in range(20):
        await node.publish(labelled(store, f"00b{number:02}"))
    assert before == {name: len(value) for name, value in vars(node).items() if isinstance(value, set | dict)}


async def test_a_fault_of_the_store_is_none_of_the_broker(store: DiskStore) -> None:
    node = hints(store, Share(store))
    head = store.head("00a1")
    await node.publish({**head, "run": "00ff"})  # there is no such run
    assert node.problem() is None


async def test_it_says_what_is_wrong_with_the_broker(store: DiskStore) -> None:
    queue = DownQueue()
    node = hints(store, Share(store), queue)
    assert node.problem() is None
    await node.look()
    assert node.problem() == "no broker"
    queue.ping = lambda: None  # type: ignore[method-assign]
    await node.look()
    assert node.problem() is None


async def test_runs_that_no_node_can_take_hide_none_behind_them(
    store: DiskStore, moments: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One owner may have any number of them, more urgent than a run whose message was lost."""
    monkeypatch.setattr(queue_hints, "AT_ONCE", 5)
    queue = MemoryQueue()
    node = hints(store, Share(store), queue)
    for number in range(12):
        labelled(store, f"00{number:02}", "nobody-has-it")
    for moments[0] in range(0, 160, 16):
        waiting = store.waiting(0)
        await node.publish_again(waiting[: node.window()], len(waiting))
    assert sum(queue.depths().values()) == 1
