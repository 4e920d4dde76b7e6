"""The store over keys and values, with several shards: the published suite, and what only shards can get wrong."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar

import pytest

from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.store.keyed.listing import CHUNK
from po_jupyter.store.keyed.memory import _Overlay
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import DOCUMENTS, KeyedStore
from po_jupyter.store.protocol import Commit, NewRun
from po_jupyter.testing.conformance.store import StoreConformance, event, new_run

T = TypeVar("T")


class ShardedStore(KeyedStore):
    """A dict for each shard. `broken` is a shard whose transactions fail."""

    def __init__(self, shards: int = 3) -> None:
        super().__init__(shards)
        self.rows: dict[int, dict[str, bytes]] = {number: {} for number in range(-1, shards)}
        self.broken: int | None = None
        self._lock = RLock()

    def _at(self, number: int, work: Callable[[Shard], T], *, write: bool = False) -> T:
        with self._lock:
            if write and number == self.broken:
                raise OSError("this shard's disk is gone")
            overlay = _Overlay(self.rows[number])
            result = work(overlay)
            for key, text in overlay.changed.items() if write else ():
                if text is None:
                    self.rows[number].pop(key, None)
                else:
                    self.rows[number][key] = text
            return result

    def close(self) -> None:
        pass


class TestShardedStore(StoreConformance):
    @pytest.fixture
    def store(self) -> ShardedStore:
        return ShardedStore()

    @pytest.fixture
    def place(self) -> str:
        return ""


def ended(store: KeyedStore, run: str) -> None:
    store.create_run(new_run(run))
    store.request(run, [event("run.done")], state="done")


def test_runs_are_spread_and_each_is_wholly_in_one_shard() -> None:
    """P2: a transaction never spans two."""
    store = ShardedStore()
    runs = [f"{i:04x}" for i in range(30)]
    for run in runs:
        store.create_run(new_run(run))
    for run in runs:
        shards = [n for n, rows in store.rows.items() if any(f"/{run}/" in f"{key}/" for key in rows)]
        assert shards == [store._shard(run)]
    assert {store._shard(run) for run in runs} == {0, 1, 2}


def test_pages_over_all_shards_are_one_list() -> None:
    """P8: newest first, each once, however the shards lie."""
    store = ShardedStore()
    runs = [f"{i:04x}" for i in range(CHUNK * 3)]
    for run in runs:
        ended(store, run)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = store.runs(states=("done",), cursor=cursor, limit=7)
        seen += [head["run"] for head in page.heads]
        cursor = page.next
        if cursor is None:
            break
    assert seen == runs[::-1]


def test_a_crash_between_key_and_run_is_made_good_by_whoever_comes_next() -> None:
    """R3.3: the key already says which run it will mean, so the same request makes that one, once."""
    store = ShardedStore()
    new: NewRun = new_run("00a1", idempotency_key="k", request_hash="h")
    store.broken = store._shard("00a1")
    with pytest.raises(OSError):
        store.create_run(new)
    assert store.redeemed("ada", "k") is None, "there is no run yet"
    store.broken = None
    head, created = store.create_run(new_run("00b2", idempotency_key="k", request_hash="h"))
    assert (head["run"], created) == ("00a1", True)
    assert store.redeemed("ada", "k") == (head, "h")
    with pytest.raises(NotFound):
        store.head("00b2")


def test_a_key_of_a_deleted_run_makes_a_new_one() -> None:
    store = ShardedStore()
    store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
    store.request("00a1", [event("run.done")], state="done")
    store.delete_run("00a1")
    assert store.rows[DOCUMENTS] == {}
    head, created = store.create_run(new_run("00b2", idempotency_key="k", request_hash="other"))
    assert (head["run"], created) == ("00b2", True)


def test_whoever_follows_a_run_reads_what_is_new_and_no_more() -> None:
    """A live view of a run of a million events does not search for its place each time."""
    store = ShardedStore(1)
    store.create_run(new_run("00a1"))
    for i in range(200):
        store.request("00a1", [event("task.stage", "t", n=i)])
    assert len(store.events("00a1", since=190)) == 11
    store.request("00a1", [event("task.stage", "t", n=200)])
    reads: list[str] = []
    at = store._at

    def counting(number: int, work: Any, **more: Any) -> Any:
        class Counted(_Overlay):
            def read(self, key: str) -> Any:
                reads.append(key)
                return super().read(key)

        return at(number, lambda shard: work(Counted(store.rows[number])), **more)

    store._at = counting
    (last,) = store.events("00a1", since=201)
    assert (last["offset"], last["data"], last["run"]) == (202, {"n": 200}, "00a1")
    assert len(reads) <= 4


def test_the_start_of_a_chunk_is_no_edge() -> None:
    """Records are read by 64: none is read twice there, and none is left out."""
    store = ShardedStore(1)
    store.create_run(new_run("00a1"))
    lease = store.claim("00a1", {"pid": 1})
    for i in range(2 * CHUNK):
        store.commit(lease, Commit([event("task.stage", "t", n=i)]))
    assert [r["n"] for r in store.records("00a1")] == list(range(1, 2 * CHUNK + 2))
    assert [r["n"] for r in store.records("00a1", after=CHUNK, limit=2)] == [CHUNK + 1, CHUNK + 2]
    assert [r["n"] for r in store.records("00a1", after=-5, limit=3)] == []


def test_a_record_that_something_else_removed_is_told_and_not_passed_over() -> None:
    """P4: a run that went on without it would be another one."""
    store = ShardedStore(1)
    store.create_run(new_run("00a1"))
    store.request("00a1", [event("run.started")])
    store.request("00a1", [event("run.waiting")])
    del store.rows[0]["c/00a1/00000002"]
    with pytest.raises(CorruptRow, match="record 2 of run 00a1 is missing"):
        list(store.records("00a1"))
