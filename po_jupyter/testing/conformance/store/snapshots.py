"""Cases of a `SnapshotStore`, which a store may be besides: a small value each of runs, that goes with its run."""

from __future__ import annotations

import pytest

from po_jupyter.store.protocol import SnapshotStore, Store
from po_jupyter.testing.conformance.store.cases import Cases, event, new_run


class SnapshotCases(Cases):
    """A `Store` that is no `SnapshotStore` passes them all."""

    @pytest.fixture
    def snapshots(self, store: Store) -> SnapshotStore:
        """The store, as it keeps snapshots."""
        if not isinstance(store, SnapshotStore):
            pytest.skip("inapplicable: this store keeps no snapshots")
        return store

    def test_snapshots_are_replaced_and_read_together(
        self, store: Store, snapshots: SnapshotStore, run: str
    ) -> None:
        """P1: they are a cache, and one that is missing is no error."""
        other = store.create_run(new_run("f" * 22))[0]["run"]
        assert snapshots.snapshots([run, other]) == {}
        snapshots.keep_snapshots({run: {"n": 1}, other: {"n": 2}})
        snapshots.keep_snapshots({run: {"n": 3, "text": "ü" * 500}})
        assert snapshots.snapshots([run, other, "0" * 22]) == {
            run: {"n": 3, "text": "ü" * 500},
            other: {"n": 2},
        }
        assert snapshots.snapshots([]) == {}

    def test_a_snapshot_goes_with_its_run(self, store: Store, snapshots: SnapshotStore, run: str) -> None:
        """P1: and none comes back after it."""
        before = store.run_bytes(run)
        snapshots.keep_snapshots({run: {"text": "x" * 1000}})
        assert store.run_bytes(run) > before
        store.request(run, [event("run.done")], state="done")
        store.delete_run(run)
        snapshots.keep_snapshots({run: {"n": 1}, "../x": {}})
        assert snapshots.snapshots([run, "../x"]) == {}
