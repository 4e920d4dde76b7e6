from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.errors import Conflict
from po_jupyter.orchestrator.views.workers import LocalWorkers, queue_report
from po_jupyter.store.protocol import Head, waits_for_worker


def head(run: str, state: str = "pending", priority: int = 0, *, held: bool = False) -> Head:
    holder: Any = {"pid": 1, "created": None, "boot": "", "host": "m"} if held else None
    return {
        "run": run, "owner": "ada", "pipeline": "p", "version": "", "name": "", "state": state,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "priority": priority,
        "fence": 0, "n": 1, "offset": 1, "holder": holder,
    }  # fmt: skip


def test_what_waits_is_what_nobody_has_and_needs_no_person() -> None:
    assert [waits_for_worker(head("a", state)) for state in ("pending", "running", "waiting")] == [
        True,
        True,
        False,
    ]
    assert not waits_for_worker(head("a", "running", held=True))


def test_the_queue_is_counted_by_priority() -> None:
    heads = [head("a"), head("b", priority=7), head("c", priority=7), head("d", "running", held=True)]
    report = queue_report([*heads, head("e", "waiting")])
    assert (report["running"], report["queued"]) == (1, 3)
    assert list(report["priorities"].items()) == [("7", 2), ("0", 1)]
    assert report["oldest"] is not None
    assert report["oldest"] > 0
    assert queue_report([]) == {"running": 0, "queued": 0, "priorities": {}, "oldest": None}


class Runs:
    def active(self) -> list[Head]:
        return [head("a")]


async def test_a_server_alone_is_one_node_and_has_nobody_to_drain_to() -> None:
    lease = {"host": "m", "pid": 7, "since": "s"}
    alone: Any = LocalWorkers(
        Runs(),
        asyncio.to_thread,
        lambda: {"version": "1", "slots": 4, "running": None},
        lambda: lease,  # type: ignore[arg-type]
    )
    report = await alone.report()
    assert [(node["pid"], node["slots"], node["running"]) for node in report["nodes"]] == [(7, 4, 0)]
    assert report["queue"]["queued"] == 1
    with pytest.raises(Conflict, match="alone"):
        await alone.drain("m")
    nobody: Any = LocalWorkers(Runs(), asyncio.to_thread, dict, lambda: None)  # type: ignore[arg-type]
    assert (await nobody.report())["nodes"] == []
