"""GroupCommitter: many small commits become few durable ones, and nothing else changes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, NotFound, StaleFence, StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.store import group_commit
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.gathered_commits import LARGEST
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import CallResponseDraft, Commit, Head, Lease, NewRun, Record, Ref

RUN = "00a1"


class HeldStore(MemoryStore):
    """A memory store whose commits wait at a gate, so that a test decides what is pending meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error: Exception | None = None
        self.threads: set[int] = set()
        self.create_run(NewRun(RUN, "ada", "p", "1.0.0", "n", 0, {}, [draft("run.created")]))

    def commit(self, lease: Lease, commit: Commit) -> Head:
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return super().commit(lease, commit)


@pytest.fixture
def store() -> HeldStore:
    return HeldStore()


@pytest.fixture
async def committer(store: HeldStore) -> AsyncIterator[GroupCommitter]:
    committer = GroupCommitter(store, store.claim(RUN, {"pid": 1}), n=1)
    yield committer
    store.gate.set()
    store.error = None
    with contextlib.suppress(StaleFence, StoreUnusable, InvalidInput):
        await committer.close()


async def held(store: HeldStore, committer: GroupCommitter) -> asyncio.Task[Any]:
    """A first commit that stays in its transaction until the gate opens."""
    store.gate.clear()
    store.entered.clear()
    first = asyncio.create_task(committer.commit(Commit(events=[draft("first")])))
    await asyncio.to_thread(store.entered.wait, 30)
    return first


async def test_what_is_pending_shares_the_next_transaction(store: HeldStore, committer: GroupCommitter) -> None:
    """P2, P9: one thread, and one transaction for all that queued up meanwhile."""
    first = await held(store, committer)
    rest = [
        asyncio.create_task(committer.commit(Commit(events=[draft("row", i=i)], payloads=[{"i": i}])))
        for i in range(50)
    ]
    await asyncio.sleep(0)
    store.gate.set()
    results = await asyncio.gather(*rest)
    assert (await first).n == 2
    assert {result.n for result in results} == {3}
    assert store.head(RUN)["n"] == 3
    assert [e["data"]["i"] for e in store.events(RUN, since=2)] == list(range(50))
    assert [store.payload(RUN, result.refs[0]) for result in results] == [{"i": i} for i in range(50)]
    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


async def test_references_follow_their_payloads(store: HeldStore, committer: GroupCommitter) -> None:
    """The indices of each commit are its own; in the shared record they point at the right payload."""
    first = await held(store, committer)

    def row(i: int) -> Commit:
        return Commit(
            events=[draft("task.done", "t", output=0)],
            items=[{"task": "t", "index": i, "output": 1}],
            calls=[{"key": str(i), "kind": "response", "answer": 0}, {"key": "old", "answer": [1, 7]}],
            payloads=[{"answer": i}, {"row": i}],
        )

    rows = [asyncio.create_task(committer.commit(row(i))) for i in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    results = await asyncio.gather(first, *rows)
    (record,) = store.records(RUN, after=2)
    for i, result in enumerate(results[1:]):
        assert store.payload(RUN, Ref(*record["items"][i]["output"])) == {"row": i}
        assert store.payload(RUN, Ref(*record["calls"][2 * i]["answer"])) == {"answer": i}
        assert record["calls"][2 * i + 1]["answer"] == [1, 7]
        assert store.payload(RUN, Ref(*record["events"][i]["data"]["output"])) == {"answer": i}
        assert result.refs == (Ref(3, 2 * i), Ref(3, 2 * i + 1))


async def test_equal_payloads_are_stored_once(store: HeldStore, committer: GroupCommitter) -> None:
    """Issue 2, 5: a run's journal holds each output once."""
    big = {"text": "the same " * 100}
    one = await committer.commit(Commit(payloads=[big, "x", big]))
    two = await committer.commit(Commit(items=[{"output": 1}], payloads=["y", big]))
    assert one.refs == (Ref(2, 0), Ref(2, 1), Ref(2, 0))
    assert two.refs == (Ref(3, 0), Ref(2, 0))
    assert store.payloads(RUN, 2) == [big, "x"]
    assert store.payloads(RUN, 3) == ["y"]
    assert next(store.records(RUN, after=2))["items"] == [{"output": [2, 0]}]
    assert store.payload(RUN, two.refs[1]) == big


async def test_after_a_failed_transaction_nothing_later_is_written(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P2, P3: an outcome that was queued behind a response must not become durable without it, although the disk
    has room again. The worker ends with the error, and the next one starts from what the log says."""
    first = await held(store, committer)
    committer.commit_soon(Commit(calls=[{"key": "a", "kind": "response"}]))
    waiter = asyncio.create_task(committer.commit(Commit(events=[draft("other")])))
    await asyncio.sleep(0)
    store.error = StoreUnusable("the disk is full")
    store.gate.set()
    for result in await asyncio.gather(first, waiter, return_exceptions=True):
        assert isinstance(result, StoreUnusable)
    store.error = None
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="the disk is full"):
            await committer.commit(Commit(items=[{"task": "t", "index": 0, "ok": True}]))
        with pytest.raises(StoreUnusable):
            committer.commit_soon(Commit(events=[draft("later")]))
        with pytest.raises(StoreUnusable):
            await committer.flush()
    assert store.head(RUN)["n"] == 1
    lease = store.claim(RUN, {"pid": 2})
    async with GroupCommitter(store, lease, n=1) as fresh:
        assert (await fresh.commit(Commit(events=[draft("again")]))).n == 2


async def test_what_was_queued_behind_a_failed_transaction_fails_with_it(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P3: also what was pending already when the transaction failed, and did not fit into it."""
    first = await held(store, committer)
    failing = [store.commit]

    def once(lease: Lease, commit: Commit) -> Head:
        if failing:
            failing.pop()
            raise StoreUnusable("the disk is full")
        return HeldStore.commit(store, lease, commit)

    big = Commit(payloads=["x" * (LARGEST + 1)])  # closes its transaction
    store.commit = once
    committer.commit_soon(big)
    behind = asyncio.create_task(committer.commit(Commit(events=[draft("behind")])))
    await asyncio.sleep(0)
    store.gate.set()
    assert (await first).n == 2
    with pytest.raises(StoreUnusable):
        await behind
    assert store.head(RUN)["n"] == 2


async def test_a_queued_commit_that_is_not_json_stops_what_comes_after_it(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P3: nobody waits for it, so nobody could keep what follows from it out of the log."""
    first = await held(store, committer)
    before = asyncio.create_task(committer.commit(Commit(events=[draft("before")])))
    await asyncio.sleep(0)
    committer.commit_soon(Commit(payloads=[object()]))
    after = asyncio.create_task(committer.commit(Commit(events=[draft("after")])))
    await asyncio.sleep(0)
    store.gate.set()
    await first
    assert (await before).n == 3
    with pytest.raises(InvalidInput):
        await after
    assert [e["type"] for e in store.events(RUN, since=2)] == ["before"]


async def test_a_stale_fence_reaches_everybody_and_everything_after(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P2."""
    first = await held(store, committer)
    rest = [asyncio.create_task(committer.commit(Commit(events=[draft("late")]))) for _ in range(3)]
    await asyncio.sleep(0)
    store.claim(RUN, {"pid": 2})
    store.gate.set()
    for result in await asyncio.gather(first, *rest, return_exceptions=True):
        assert isinstance(result, StaleFence)
    with pytest.raises(StaleFence):
        await committer.commit(Commit())
    with pytest.raises(StaleFence):
        committer.commit_soon(Commit())
    with pytest.raises(StaleFence):
        await committer.flush()
    assert store.head(RUN)["n"] == 1


async def test_only_the_commit_that_is_not_json_fails(store: HeldStore, committer: GroupCommitter) -> None:
    """P4, P12: one bad row never takes its neighbours along."""
    first = await held(store, committer)
    commits = [
        Commit(events=[draft("a")], payloads=[1]),
        Commit(events=[draft("bad")], payloads=[{1, 2}]),
        Commit(events=[draft("b")], payloads=[2]),
        Commit(events=[draft("bad", x=object())]),
        Commit(items=[{"output": 3}], events=[draft("bad")], payloads=[3]),
        Commit(events=[draft("c")], payloads=[3]),
    ]
    rest = [asyncio.create_task(committer.commit(commit)) for commit in commits]
    await asyncio.sleep(0)
    store.gate.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert [isinstance(result, InvalidInput) for result in results] == [False, True, False, True, True, False]
    assert [e["type"] for e in store.events(RUN, since=2)] == ["a", "b", "c"]
    good = [result for result in results if not isinstance(result, BaseException)]
    assert [store.payload(RUN, result.refs[0]) for result in good] == [1, 2, 3]


async def test_a_full_disk_reaches_all_waiters(store: HeldStore, committer: GroupCommitter) -> None:
    """P12: nobody waits for ever."""
    store.error = StoreUnusable("the disk is full")
    waiters = [asyncio.create_task(committer.commit(Commit(events=[draft("x")]))) for _ in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 10)
    assert all(isinstance(result, StoreUnusable) for result in results)


async def test_commit_soon_keeps_its_order_and_flush_waits(store: HeldStore, committer: GroupCommitter) -> None:
    for i in range(20):
        committer.commit_soon(Commit(events=[draft("x", i=i)]))
    result = await committer.commit(Commit(events=[draft("x", i=20)]))
    committer.commit_soon(Commit(events=[draft("x", i=21)]))
    await committer.flush()
    assert [e["data"]["i"] for e in store.events(RUN, since=1)] == list(range(22))
    assert result.n <= store.head(RUN)["n"]


async def test_an_error_that_nobody_waited_for_is_raised_by_what_comes_next(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P3: an intent that could not be recorded stops what comes after it; at the latest the closing says so."""
    store.error = StoreUnusable("the disk is full")
    committer.commit_soon(Commit(events=[draft("lost")]))
    async with asyncio.timeout(5):
        while committer._broken is None:
            await asyncio.sleep(0.005)
    store.error = None
    with pytest.raises(StoreUnusable):
        await committer.close()
    await committer.close()  # it was told
    with pytest.raises(StoreUnusable):
        await committer.commit(Commit(events=[draft("after")]))
    assert store.head(RUN)["n"] == 1


async def test_a_release_ends_its_transaction(store: HeldStore, committer: GroupCommitter) -> None:
    """P2: what was queued after giving the run back is refused."""
    first = await held(store, committer)
    done = asyncio.create_task(committer.commit(Commit(events=[draft("run.done")], state="done", release=True)))
    late = asyncio.create_task(committer.commit(Commit(events=[draft("late")])))
    await asyncio.sleep(0)
    store.gate.set()
    await first
    assert (await done).head["state"] == "done"
    with pytest.raises(StaleFence):
        await late
    assert store.events(RUN)[-1]["type"] == "run.done"


async def test_a_cancelled_wait_does_not_take_the_commit_back(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P12."""
    first = await held(store, committer)
    gone = asyncio.create_task(committer.commit(Commit(events=[draft("kept")])))
    await asyncio.sleep(0)
    gone.cancel()
    store.gate.set()
    await first
    await committer.flush()
    assert [e["type"] for e in store.events(RUN, since=2)] == ["kept"]


async def test_foreign_records_are_told_before_the_commit_is_answered(store: HeldStore) -> None:
    """A cancel or a gate's decision reaches the worker with its next commit."""
    told: list[Record] = []
    lease = store.claim(RUN, {"pid": 1})
    async with GroupCommitter(store, lease, n=1, on_foreign=told.extend) as committer:
        await committer.commit(Commit(events=[draft("mine")]))
        assert told == []
        store.request(RUN, [draft("run.cancel_requested", by="ada")])
        store.request(RUN, [draft("gate.decided")])
        result = await committer.commit(Commit(events=[draft("mine")]))
        assert [record["n"] for record in told] == [3, 4]
        assert told[0]["events"][0]["type"] == "run.cancel_requested"
        assert result.n == 5
        store.request(RUN, [draft("again")])
        head = await committer.refresh()
        assert [record["n"] for record in told] == [3, 4, 6]
        assert head["n"] == 6
        await committer.commit(Commit())
        assert len(told) == 3


async def test_refresh_notices_a_takeover(store: HeldStore, committer: GroupCommitter) -> None:
    """P2: a worker that only waits learns it too."""
    store.claim(RUN, {"pid": 2})
    with pytest.raises(StaleFence):
        await committer.refresh()
    with pytest.raises(StaleFence):
        await committer.commit(Commit())


async def test_a_callback_that_fails_harms_no_commit(store: HeldStore) -> None:
    loop = asyncio.get_running_loop()
    reported: list[Any] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail(records: list[Record]) -> None:
        raise RuntimeError("no")

    async with GroupCommitter(store, store.claim(RUN, {}), n=1, on_foreign=fail) as committer:
        store.request(RUN, [draft("x")])
        assert (await committer.commit(Commit())).n == 3
    assert [str(error) for error in reported] == ["no"]


async def test_a_run_that_was_deleted_is_not_found(store: HeldStore, committer: GroupCommitter) -> None:
    store.request(RUN, [], "done")
    store.delete_run(RUN)
    with pytest.raises(NotFound):
        await committer.commit(Commit())


async def test_the_loop_stays_free_while_a_transaction_waits(
    store: HeldStore, committer: GroupCommitter
) -> None:
    """P9."""
    first = await held(store, committer)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not first.done()
    store.gate.set()
    await first


async def test_a_thousand_rows_on_a_disk_are_few_transactions(tmp_path: Path) -> None:
    """P2, R2.6."""
    store = DiskStore(tmp_path / "store")
    store.create_run(NewRun(RUN, "ada", "p", "1.0.0", "n", 0, {}, [draft("run.created")]))
    async with GroupCommitter(store, store.claim(RUN, {"pid": 1}), n=1) as committer:

        async def row(i: int) -> None:
            item = {"task": "t", "index": i, "ok": True, "output": 0}
            await committer.commit(Commit(items=[item], payloads=[{"row": i}]))

        await asyncio.gather(*map(row, range(1000)))
    items = [item for record in store.records(RUN) for item in record["items"]]
    assert [item["index"] for item in items] == list(range(1000))
    assert [store.payload(RUN, Ref(*item["output"]))["row"] for item in items] == list(range(1000))
    assert store.head(RUN)["n"] < 20
    store.close()


async def test_on_a_disk_the_work_is_done_in_the_thread_of_the_shard(tmp_path: Path) -> None:
    """A commit changes threads twice, not four times."""
    earlier = set(threading.enumerate())  # of tests before this one
    store = DiskStore(tmp_path / "store")
    store.create_run(NewRun(RUN, "ada", "p", "1.0.0", "n", 0, {}, [draft("run.created")]))
    heads: list[Head] = []
    async with GroupCommitter(store, store.claim(RUN, {"pid": 1}), n=1, on_head=heads.append) as committer:
        await committer.commit(Commit([draft("x")]))
        assert [head["n"] for head in heads] == [2]
        own = set(threading.enumerate()) - earlier
        assert not any(thread.name.startswith("po-commit") for thread in own)
        store.close()  # the next commit opens it again, in a new thread
        await committer.commit(Commit([draft("x")]))
    assert heads[-1] == store.head(RUN)
    store.close()


class SmallDisk(MemoryStore):
    """A store whose disk is full for some transactions."""

    full = 0

    def commit(self, lease: Lease, commit: Commit) -> Head:
        if self.full:
            self.full -= 1
            raise StoreUnusable("the disk is full")
        return super().commit(lease, commit)


@pytest.mark.parametrize("first", ["the answer", "something else while the answer is on its way"])
async def test_an_answer_is_kept_while_the_disk_is_full_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """P3, P12: it is paid for; nothing else waits."""
    monkeypatch.setattr(group_commit, "_PAUSE", 0.01)
    store = SmallDisk()
    store.create_run(NewRun(RUN, "ada", "p", "1.0.0", "n", 0, {}, [draft("run.created")]))
    committer = GroupCommitter(store, store.claim(RUN, {"pid": 1}))
    await committer.commit(Commit(calls=[{"key": "k", "kind": "intent", "model": "m", "stage": "s"}]))
    store.full = 5
    if first != "the answer":
        await committer.commit(Commit(events=[draft("x")]))
    answer: CallResponseDraft = {"key": "k", "kind": "response", "ok": True, "answer": 0}
    await committer.commit(Commit(calls=[answer], payloads=["hi"]))
    assert store.full == 0
    store.full = 1
    with pytest.raises(StoreUnusable):
        await committer.commit(Commit(events=[draft("x")]))
    await committer.close()


async def test_what_raises_in_then_stops_no_later_commit(store: HeldStore, committer: GroupCommitter) -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    def then(result: object) -> None:
        raise ValueError("then")

    committer.commit_soon(Commit(events=[draft("one")]), then)
    async with asyncio.timeout(5):
        await committer.commit(Commit(events=[draft("two")]))
        await committer.commit(Commit(events=[draft("three")]))
    assert [str(error) for error in errors] == ["then"]
    assert [event["type"] for event in store.events(RUN)][1:] == ["one", "two", "three"]
