from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.distributed import directory as module
from po_jupyter.distributed.directory import KIND, NodeDirectory
from po_jupyter.store.disk.store import DiskStore


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=1)
    yield store
    store.close()


def document(count: int, **more: Any) -> dict[str, Any]:
    return {
        "holder": "h",
        "host": "m",
        "pid": 1,
        "since": "s",
        "version": "1",
        "slots": 4,
        "count": count,
        **more,
    }


def look(directory: NodeDirectory, clock: Clock, seconds: float, step: float = 0.5) -> None:
    for _ in range(round(seconds / step)):
        clock.now += step
        directory.look()


def test_a_node_that_renews_is_there_whatever_its_clock_says(store: DiskStore, clock: Clock) -> None:
    directory = NodeDirectory(store, 5.0)
    for count in range(20):
        store.put(KIND, "a", document(count, renewed="1999-01-01T00:00:00Z"))
        look(directory, clock, 1.5)
    (node,) = directory.nodes()
    assert (node.name, node.slots, node.works, node.silent) == ("a", 4, True, 1.0)


def test_a_node_that_does_not_renew_is_gone_after_its_term(store: DiskStore, clock: Clock) -> None:
    store.put(KIND, "a", document(1))
    directory = NodeDirectory(store, 5.0)
    look(directory, clock, 5.0)
    assert not directory.is_gone("a")
    look(directory, clock, 1.0)
    assert directory.is_gone("a")
    assert directory.nodes() == []
    assert directory.names() == ["a"]
    directory.forget("a")
    assert store.names(KIND) == []


def test_one_that_comes_back_is_not_forgotten(store: DiskStore, clock: Clock) -> None:
    store.put(KIND, "a", document(1))
    directory = NodeDirectory(store, 5.0)
    look(directory, clock, 6.0)
    store.put(KIND, "a", document(2))
    directory.forget("a")
    assert store.names(KIND) == ["a"]


def test_a_looker_that_stood_still_takes_nobody_for_gone(store: DiskStore, clock: Clock) -> None:
    store.put(KIND, "a", document(1))
    directory = NodeDirectory(store, 5.0)
    look(directory, clock, 1.0)
    clock.now += 3600
    directory.look()
    assert not directory.is_gone("a")


def test_one_without_a_document_has_a_term_to_finish(store: DiskStore, clock: Clock) -> None:
    """A node that was stopped has given its document back; its workers may still finish a call."""
    directory = NodeDirectory(store, 5.0)
    directory.look()
    assert not directory.is_gone("left")
    look(directory, clock, 4.0)
    assert not directory.is_gone("left")
    look(directory, clock, 2.0)
    assert directory.is_gone("left")


def test_draining_and_serving_nodes_do_not_work(store: DiskStore, clock: Clock) -> None:
    store.put(KIND, "a", document(1, draining=True))
    store.put(KIND, "b", document(1, slots=0))
    store.put(KIND, "c", document(1))
    directory = NodeDirectory(store, 5.0)
    directory.look()
    assert [node.works for node in directory.nodes()] == [False, False, True]
    assert directory.workers() == 1


def test_labels_are_those_of_nodes_that_work(store: DiskStore, clock: Clock) -> None:
    store.put(KIND, "a", document(1, labels=["gpu", "big"]))
    store.put(KIND, "b", document(1, labels=["serving"], slots=0))
    store.put(KIND, "c", document(1, labels=["leaving"], draining=True))
    store.put(KIND, "d", document(1))
    directory = NodeDirectory(store, 5.0)
    directory.look()
    assert directory.labels() == [{"gpu", "big"}, set()]
