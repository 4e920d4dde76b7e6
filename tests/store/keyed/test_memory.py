"""The store in memory: the published suite, and that it is no more forgiving than a disk."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.testing.conformance.store import StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def place(self) -> str:
        return ""


def test_work_that_raises_leaves_no_trace() -> None:
    """P2: a test against it finds what a disk would have shown."""
    store = MemoryStore()
    store.put("k", "before", 1)
    rows = dict(store._rows)

    def work(shard: Any) -> None:
        shard.write("d/k/new", 2)
        assert shard.read("d/k/new") == 2, "its own changes it sees"
        assert shard.erase("d/k/before")
        assert shard.read("d/k/before") is None
        assert not shard.erase("d/k/before"), "gone is gone"
        raise ValueError

    with pytest.raises(ValueError):
        store._at(-1, work, write=True)
    assert store._rows == rows
    assert store.get("k", "before") == 1


def test_work_that_only_reads_writes_nothing() -> None:
    store = MemoryStore()
    store._at(0, lambda shard: shard.write("x", 1))
    assert store._rows == {}
