"""Snapshots as rows beside the heads: read together, and of no use when they cannot be read."""

from __future__ import annotations

from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.stored_runs import RUN, store_run

OTHER = "f" * 22


def test_one_that_cannot_be_read_is_left_out_and_the_others_are_read() -> None:
    store = MemoryStore()
    for run in (RUN, OTHER):
        store_run(store, run=run)
    store.keep_snapshots({RUN: {"a": 1}, OTHER: {"b": 2}})
    store._rows[f"snap/{RUN}"] = b"{"
    assert store.snapshots([RUN, OTHER]) == {OTHER: {"b": 2}}


def test_a_run_that_is_not_there_gets_none() -> None:
    store = MemoryStore()
    store.keep_snapshots({RUN: {"a": 1}})
    assert [key for key in store._rows if key.startswith("snap/")] == []
