"""Snapshots of runs: caches beside the heads, of which a list reads many at once."""

from __future__ import annotations

from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.testing.conformance.store import event, new_run


def store_of(*runs: str) -> MemoryStore:
    store = MemoryStore()
    for run in runs:
        store.create_run(new_run(run))
    return store


def test_those_that_there_are_are_read_and_replaced() -> None:
    store = store_of("00a1", "00a2", "00a3")
    store.keep_snapshots({"00a1": {"n": 1}, "00a2": [2]})
    assert store.snapshots(["00a1", "00a2", "00a3", "00a4", "no id"]) == {"00a1": {"n": 1}, "00a2": [2]}
    store.keep_snapshots({"00a1": {"n": 2}})
    assert store.snapshots(["00a1"]) == {"00a1": {"n": 2}}


def test_a_run_that_is_gone_gets_none_and_leaves_none() -> None:
    """Who folded a run while it was deleted does not bring it back."""
    store = store_of("00a1")
    store.keep_snapshots({"00a1": 1, "00a2": 2})
    store.request("00a1", [event("run.done")], state="done")
    store.delete_run("00a1")
    store.keep_snapshots({"00a1": 1})
    assert store.snapshots(["00a1", "00a2"]) == {}


def test_one_that_cannot_be_read_is_none() -> None:
    store = store_of("00a1", "00a2")
    store.keep_snapshots({"00a1": 1, "00a2": 2})
    store._rows["snap/00a1"] = b"{"
    assert store.snapshots(["00a1", "00a2"]) == {"00a2": 2}
