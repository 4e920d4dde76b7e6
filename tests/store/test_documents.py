"""Changes of documents by compare and swap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from po_jupyter.errors import Conflict
from po_jupyter.store import documents
from po_jupyter.store.keyed.memory import MemoryStore


class Interrupted(MemoryStore):
    """A store in which another writer is quicker, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.swaps = 0

    def swap(self, kind: str, name: str, old: Any | None, new: Any) -> bool:
        self.swaps += 1
        if self.times:
            self.times -= 1
            self.put(kind, name, (self.get(kind, name) or 0) + 100)
        return super().swap(kind, name, old, new)


def more(number: int | None) -> int:
    return (number or 0) + 1


def test_a_change_is_made_again_on_what_another_writer_left() -> None:
    store = Interrupted(times=2)
    assert documents.update(store, "counters", "c", more) == 201
    assert store.get("counters", "c") == 201
    assert store.swaps == 3


def test_the_same_object_is_no_change() -> None:
    store = Interrupted(times=0)
    store.put("counters", "c", 7)
    assert documents.update(store, "counters", "c", lambda number: number) == 7
    assert documents.update(store, "counters", "none", lambda number: number) is None
    assert store.swaps == 0
    assert store.names("counters") == ["c"]


def test_a_change_to_none_removes() -> None:
    store = MemoryStore()
    store.put("counters", "c", 7)
    assert documents.update(store, "counters", "c", lambda number: None) is None
    assert store.get("counters", "c") is None


def test_whoever_never_gets_through_is_told() -> None:
    store = Interrupted(times=5)
    with pytest.raises(Conflict, match="the counter is being written by too many at once"):
        documents.update(store, "counters", "c", more, subject="the counter", tries=5)


def test_nothing_is_lost_between_threads() -> None:
    store = MemoryStore()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: documents.update(store, "counters", "c", more, tries=10_000), range(200)))
    assert store.get("counters", "c") == 200
