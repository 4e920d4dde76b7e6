from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from po_jupyter.config import Settings
from po_jupyter.distributed.brokers.opening import NAME
from po_jupyter.distributed.node import NodeDistribution, node_settings, queue_name
from po_jupyter.store.disk.store import DiskStore


def test_a_node_has_a_name_of_its_own(tmp_path: Path) -> None:
    one, two = (node_settings(Settings(data_dir=tmp_path / name)) for name in ("one", "two"))
    assert one.node and two.node
    assert one.node != two.node
    assert node_settings(Settings(data_dir=tmp_path / "one")).node == one.node
    assert node_settings(Settings(data_dir=tmp_path, node="mine")).node == "mine"


def test_its_workers_notice_its_end_before_its_runs_go_to_others(tmp_path: Path) -> None:
    settings = node_settings(Settings(data_dir=tmp_path, node_ttl=4.0))
    assert settings.lease_ttl == 4.0
    assert settings.orphan_timeout < settings.node_ttl
    assert settings.heartbeat < settings.orphan_timeout
    # Of a node that stands still: silent for as long, then alone for as long, each a step late. Its last renewal may be
    # a third of its term old.
    assert 2 * settings.orphan_timeout < settings.node_ttl * 5 / 6


def test_its_document_says_what_it_has(tmp_path: Path) -> None:
    settings = node_settings(Settings(data_dir=tmp_path, node="n", node_labels=("gpu",), max_running=3))
    node = NodeDistribution(settings)
    assert node.document == ("node", "n")
    described = node.describe()
    assert (described["slots"], described["labels"], described["draining"]) == (3, ["gpu"], False)
    serving = NodeDistribution(settings.model_copy(update={"node_works": False}))
    assert serving.describe()["slots"] == 0


def test_nodes_of_one_store_have_one_queue_however_they_write_its_address(tmp_path: Path) -> None:
    """A digest of the URL told `db` from `db.example`, and whoever changed a port from everybody else."""
    one, two = (DiskStore(tmp_path / "store", shards=1) for _ in range(2))
    other = DiskStore(tmp_path / "other", shards=1)
    assert queue_name(one) == queue_name(two) == queue_name(one)
    assert queue_name(one) != queue_name(other)
    assert NAME.fullmatch(queue_name(one))
    for store in (one, two, other):
        store.close()


async def test_a_second_node_of_one_name_says_that_it_only_waits(tmp_path: Path) -> None:
    """It is as ready as one that works, and does nothing."""
    node = NodeDistribution(node_settings(Settings(data_dir=tmp_path, node="gpu-1")))
    with capture_logs() as lines:
        await node.warm()
    (line,) = lines
    assert line["node"] == "gpu-1" and "another process has this node's name" in line["event"]


async def test_a_node_that_loses_its_lease_while_it_starts_is_ready_all_the_same(tmp_path: Path) -> None:
    """It gets another share with the next lease, and nobody warms the first one up."""
    node = NodeDistribution(node_settings(Settings(data_dir=tmp_path)))
    first: Any = SimpleNamespace(warm=asyncio.Event())
    second: Any = SimpleNamespace(warm=asyncio.Event())
    node._share = first
    warm = asyncio.create_task(node.warm())
    await asyncio.sleep(0)
    node._share = second
    second.warm.set()
    async with asyncio.timeout(5):
        await warm
