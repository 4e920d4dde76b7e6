from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.distributed.directory import DRAIN, KIND, NodeDirectory
from po_jupyter.distributed.report import NodesView
from po_jupyter.errors import NotFound
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import new_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=1)
    document = {"holder": "h", "host": "m", "pid": 1, "since": "s", "version": "1", "slots": 4, "count": 1}
    store.put(KIND, "a", {**document, "running": 2, "labels": ["gpu"]})
    store.put(KIND, "b", {**document, "draining": True})
    store.put(KIND, "c", {**document, "slots": 0})
    for run, priority in (("00a1", 0), ("00a2", 7), ("00a3", 7)):
        store.create_run(new_run(run, priority=priority))
    store.claim("00a3", {"pid": 1, "created": None, "boot": "", "host": "m", "node": "a"})
    yield store
    store.close()


def view(store: DiskStore) -> NodesView:
    directory = NodeDirectory(store, 5.0)
    directory.look()
    return NodesView(store, directory, asyncio.to_thread, None)


async def test_a_report_has_the_nodes_and_the_queue_by_priority(store: DiskStore) -> None:
    report = await view(store).report()
    assert [(node["name"], node["state"], node["running"], node["slots"]) for node in report["nodes"]] == [
        ("a", "works", 2, 4), ("b", "drains", 0, 4), ("c", "serves", 0, 0),
    ]  # fmt: skip
    assert report["nodes"][0]["labels"] == ["gpu"]
    queue = report["queue"]
    assert (queue["running"], queue["queued"], queue["priorities"]) == (1, 2, {"7": 1, "0": 1})
    assert queue["oldest"] is not None
    assert report["broker"] is None


async def test_a_node_is_asked_to_drain_by_its_name(store: DiskStore) -> None:
    nodes = view(store)
    await nodes.drain("a")
    assert store.get(DRAIN, "a") is not None
    report = await nodes.report()  # before the node itself has heard of it
    assert [node["state"] for node in report["nodes"] if node["name"] == "a"] == ["drains"]
    with pytest.raises(NotFound, match="no node 'aa'; did you mean `a`"):
        await nodes.drain("aa")
