from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.distributed.directory import NodeDirectory
from po_jupyter.distributed.reaper import Reaper
from po_jupyter.distributed.share import NodeShare
from po_jupyter.errors import StaleFence
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import new_run


class Known(NodeDirectory):
    """Knows which nodes are gone."""

    gone: frozenset[str] = frozenset()

    def is_gone(self, name: str) -> bool:
        return name in self.gone


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=1)
    yield store
    store.close()


def reaper(store: DiskStore, *gone: str) -> Reaper:
    directory = Known(store, 5.0)
    directory.gone = frozenset(gone)
    share = NodeShare(store, "me", 1, (), directory, asyncio.to_thread)
    return Reaper(store, share, directory, asyncio.to_thread, 5.0)


def held(store: DiskStore, run: str, **identity: Any) -> Any:
    store.create_run(new_run(run))
    lease = store.claim(run, {**processes.myself(), **identity})
    store.commit(lease, Commit(state="running"))
    return lease


def test_a_run_of_a_node_that_is_gone_is_anybodys_and_its_worker_fenced(store: DiskStore) -> None:
    lease, other = held(store, "00a1", node="gone"), held(store, "00a2", node="there")
    reaper(store, "gone").reap(["gone"])
    assert store.head("00a1")["holder"] is None
    assert store.head("00a1")["state"] == "running"
    with pytest.raises(StaleFence):
        store.commit(lease, Commit())
    assert store.head("00a2")["holder"] is not None
    store.commit(other, Commit())


def test_a_process_of_another_machine_is_not_judged_by_its_pid(store: DiskStore) -> None:
    """The pid is that of this test, which lives; the host is another one's."""
    held(store, "00a1", node="gone", host="other")
    held(store, "00a2", node="there", host="other", pid=1)
    reaper(store, "gone").reap(["gone"])
    assert store.head("00a1")["holder"] is None
    assert store.head("00a2")["holder"] is not None


def test_a_claim_of_a_process_that_died_half_way_is_freed(store: DiskStore) -> None:
    held(store, "00a1", created=-1.0)
    held(store, "00a2")
    held(store, "00a3", host="other")
    reaper(store).reap([])
    assert store.head("00a1")["holder"] is None
    assert store.head("00a2")["holder"] is not None  # it lives
    assert store.head("00a3")["holder"] is not None  # who knows, yet


def test_a_holder_of_another_machine_without_a_node_is_given_time(store: DiskStore) -> None:
    lease = held(store, "00a1", host="other")
    patient = reaper(store)
    for _ in range(20):
        patient.reap([])
    store.commit(lease, Commit())  # it works
    for _ in range(20):
        patient.reap([])
    assert store.head("00a1")["holder"] is not None
    for _ in range(20):
        patient.reap([])
    assert store.head("00a1")["holder"] is None


def test_who_was_quicker_keeps_the_run(store: DiskStore) -> None:
    held(store, "00a1", node="gone")
    seen = store.head("00a1")
    lease = store.claim("00a1", {**processes.myself(), "node": "quick"})
    assert not reaper(store, "gone").free(seen)
    store.commit(lease, Commit())


def test_a_run_that_cannot_be_judged_keeps_no_other_from_being_freed(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(store, "00a1", node="gone")
    held(store, "00a2", node="gone")
    mended = reaper(store, "gone")
    free = mended.free

    def troubled(head: Any) -> bool:
        if head["run"] == "00a2":
            raise KeyError("no such thing")
        return free(head)

    monkeypatch.setattr(mended, "free", troubled)
    active = store.active
    monkeypatch.setattr(store, "active", lambda: sorted(active(), key=lambda head: head["run"], reverse=True))
    mended.reap(["gone"])
    assert store.head("00a1")["holder"] is None
    assert store.head("00a2")["holder"] is not None


def test_nothing_is_kept_of_runs_that_have_ended(store: DiskStore) -> None:
    lease = held(store, "00a1", host="other")
    patient = reaper(store)
    patient.reap([])
    assert set(patient._unnamed) == {"00a1"}
    store.commit(lease, Commit(state="done", release=True))
    patient.reap([])
    assert patient._unnamed == {}
