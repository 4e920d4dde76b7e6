"""Lanes: commits of several runs share a transaction, and one that fails takes nobody else along."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, StaleFence, StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.platform import processes
from po_jupyter.store import commit_lane
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.protocol import Commit, Head, Lease, NewRun

pytestmark = pytest.mark.integration  # on a disk

RUNS = [f"00a{i}" for i in range(8)]


class CountedStore(DiskStore):
    """A store that counts its transactions, and whose disk is full for some runs."""

    def __init__(self, path: Path) -> None:
        self.transactions = 0
        self.full: set[str] = set()
        self.depth = 0
        super().__init__(path, shards=1)

    def _at(self, number: int, work: Any, *, write: bool = False) -> Any:
        if write and not self.depth:
            self.transactions += 1
        self.depth += 1
        try:
            return super()._at(number, work, write=write)
        finally:
            self.depth -= 1

    def commit(self, lease: Lease, commit: Commit) -> Head:
        if lease.run in self.full and not self.depth:
            raise StoreUnusable("the disk is full")
        head = super().commit(lease, commit)
        if lease.run in self.full:  # rows are written already: they have to be undone
            raise StoreUnusable("the disk is full")
        return head


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountedStore]:
    store = CountedStore(tmp_path / "store")
    for run in RUNS:
        store.create_run(NewRun(run, "ada", "p", "1.0.0", "n", 0, {}, [draft("run.created")]))
    yield store
    store.close()


def committers(store: CountedStore) -> list[GroupCommitter]:
    made = [GroupCommitter(store, store.claim(run, processes.myself()), n=1) for run in RUNS]
    store.transactions = 0
    return made


def types(store: CountedStore, run: str) -> list[str]:
    return [event["type"] for event in store.events(run)]


async def test_commits_that_come_together_share_a_transaction(store: CountedStore) -> None:
    writers = committers(store)
    results = await asyncio.gather(
        *(w.commit(Commit(events=[draft("one")], payloads=["x" * 300])) for w in writers)
    )
    assert store.transactions == 1
    assert [result.head["run"] for result in results] == RUNS
    again = await asyncio.gather(*(w.commit(Commit(payloads=["x" * 300])) for w in writers))
    assert all(result.refs == first.refs for result, first in zip(again, results, strict=True))
    for run in RUNS:
        assert types(store, run) == ["run.created", "one"]


async def test_one_whose_lease_is_stale_fails_alone(store: CountedStore) -> None:
    writers = committers(store)
    store.claim(RUNS[3], processes.myself())
    results = await asyncio.gather(
        *(w.commit(Commit(events=[draft("one")])) for w in writers), return_exceptions=True
    )
    assert [isinstance(result, StaleFence) for result in results] == [run == RUNS[3] for run in RUNS]
    assert [types(store, run)[1:] for run in RUNS] == [[] if run == RUNS[3] else ["one"] for run in RUNS]


async def test_a_transaction_that_fails_is_undone_and_written_again_one_by_one(store: CountedStore) -> None:
    """P2: nothing of the undone one is left, in the store or in what a committer knows."""
    writers = committers(store)
    first = await writers[0].commit(Commit(payloads=["known" * 100]))
    store.full.add(RUNS[3])
    value = "new" * 100
    results = await asyncio.gather(
        *(w.commit(Commit(events=[draft("one")], payloads=[value])) for w in writers), return_exceptions=True
    )
    assert [isinstance(result, StoreUnusable) for result in results] == [run == RUNS[3] for run in RUNS]
    assert types(store, RUNS[3]) == ["run.created"]
    for run, writer in zip(RUNS, writers, strict=True):
        if run != RUNS[3]:
            assert types(store, run) == ["run.created", "one"]
            later = await writer.commit(Commit(payloads=[value]))
            assert store.payload(run, later.refs[0]) == value
    known = await writers[0].commit(Commit(payloads=["known" * 100]))
    assert known.refs == first.refs
    with pytest.raises(StoreUnusable):
        await writers[3].commit(Commit(events=[draft("after")]))


async def test_what_is_no_json_fails_alone(store: CountedStore) -> None:
    writers = committers(store)
    commits = [
        Commit(payloads=[object()]) if i == 2 else Commit(events=[draft("one")]) for i in range(len(RUNS))
    ]
    results = await asyncio.gather(
        *(w.commit(c) for w, c in zip(writers, commits, strict=True)), return_exceptions=True
    )
    assert [i for i, result in enumerate(results) if isinstance(result, Exception)] == [2]
    assert not isinstance(results[2], StoreUnusable) and isinstance(results[2], InvalidInput | TypeError)


async def test_a_full_disk_is_waited_for_once_for_all(
    store: CountedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in flight makes it worth a wait, which is not as many times as long for as many runs."""
    monkeypatch.setattr(commit_lane, "PATIENCE", 0.5)
    writers = committers(store)
    intent: Any = {"key": "t/1/inference/0", "kind": "intent", "model": "m", "stage": "inference"}
    store.full |= set(RUNS)
    before = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(w.commit(Commit(calls=[{**intent, "kind": "response", "ok": True}])) for w in writers),
        return_exceptions=True,
    )
    assert all(isinstance(result, StoreUnusable) for result in results)
    assert asyncio.get_running_loop().time() - before < 3.0


async def test_foreign_records_are_told_once_although_their_transaction_was_undone(store: CountedStore) -> None:
    told: list[str] = []
    lease = store.claim(RUNS[0], processes.myself())
    one = GroupCommitter(
        store,
        lease,
        n=1,
        on_foreign=lambda records: told.extend(e["type"] for r in records for e in r["events"]),
    )
    other = GroupCommitter(store, store.claim(RUNS[1], processes.myself()), n=1)
    store.request(RUNS[0], [draft("run.cancel_requested", by="me")])
    store.full.add(RUNS[1])
    await asyncio.gather(
        one.commit(Commit(events=[draft("one")])),
        other.commit(Commit(events=[draft("one")])),
        return_exceptions=True,
    )
    await one.commit(Commit(events=[draft("two")]))
    assert told == ["run.cancel_requested"]


async def test_a_closed_store_answers_everybody(store: CountedStore) -> None:
    class NoThread:
        def submit(self, *_: object) -> None:
            raise RuntimeError("shut down")

    lane: commit_lane.CommitLane[int] = commit_lane.CommitLane(lambda: NoThread(), lambda work: work())  # type: ignore[arg-type,return-value]

    class Write:
        def together(self) -> int:
            return 1

        def undone(self) -> None: ...

        def alone(self, until: float) -> int:
            return 1

    with pytest.raises(RuntimeError, match="shut down"):
        await lane.write(Write())


class Written:
    """A write of nothing, that says when it was."""

    def __init__(self, order: list[str], name: str = "write") -> None:
        self._order, self._name = order, name

    def together(self) -> int:
        self._order.append(self._name)
        return 1

    def undone(self) -> None: ...

    def alone(self, until: float) -> int:
        return self.together()


async def test_a_thread_that_cannot_be_started_is_an_answer_too() -> None:
    def thread() -> Any:
        raise StoreUnusable("no thread")

    lane: commit_lane.CommitLane[int] = commit_lane.CommitLane(thread, lambda work: work())
    for _ in range(2):
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnusable, match="no thread"):
                await lane.write(Written([]))


async def test_what_else_the_thread_has_to_do_comes_between_two_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9: claims and reads of the shard wait for one transaction, not for as many as others have in store."""
    monkeypatch.setattr(commit_lane, "MOST_RUNS", 1)
    order: list[str] = []
    with ThreadPoolExecutor(1) as thread:
        lane: commit_lane.CommitLane[int] = commit_lane.CommitLane(lambda: thread, lambda work: work())
        gate = threading.Event()
        thread.submit(gate.wait, 10)
        writes = [lane.write(Written(order, f"write {i}")) for i in range(3)]
        await asyncio.sleep(0)  # the lane's first batch is queued
        await asyncio.sleep(0)
        thread.submit(order.append, "read")
        gate.set()
        await asyncio.gather(*writes)
    assert order == ["write 0", "read", "write 1", "write 2"]


async def test_what_waits_is_written_when_the_store_is_closed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit_lane, "MOST_RUNS", 1)
    order: list[str] = []
    thread = ThreadPoolExecutor(1)
    lane: commit_lane.CommitLane[int] = commit_lane.CommitLane(lambda: thread, lambda work: work())
    gate = threading.Event()
    thread.submit(gate.wait, 10)
    writes = [lane.write(Written(order, f"write {i}")) for i in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    thread.shutdown(wait=False)
    gate.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*writes)
    assert order == ["write 0", "write 1", "write 2"]
