"""What a node does first when it is to give its runs to others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.distributed.dispatcher import NodeDispatcher
from po_jupyter.errors import StoreUnusable
from po_jupyter.testing.conformance.store import new_run


class Parts:
    """The parts of a dispatcher; notes what is asked of them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures = 0
        workers = SimpleNamespace(drain=lambda: self.done.append("workers"))
        self.starts = SimpleNamespace(starting={})
        self.supervisor = SimpleNamespace(live=lambda: 1, processes=workers, starts=self.starts)
        self.share: Any = SimpleNamespace(takes=True, supervisor=None, give_back=self.give_back)

    async def give_back(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnusable("away")
        self.done.append("runs")

    async def stop_consuming(self) -> None:
        self.done.append("messages")

    def dispatcher(self) -> NodeDispatcher:
        unused: Any = None
        local: Any = SimpleNamespace(supervisor=self.supervisor)
        hints: Any = SimpleNamespace(stop_consuming=self.stop_consuming)
        return NodeDispatcher(
            local, self.share, unused, unused, unused, asyncio.to_thread, node="n", ttl=5.0, hints=hints
        )  # fmt: skip


async def test_messages_and_runs_without_a_worker_go_back_before_calls_in_flight_are_waited_for() -> None:
    parts = Parts()
    dispatcher = parts.dispatcher()
    await dispatcher._drain()
    await dispatcher._drain()
    assert parts.done == ["messages", "runs", "workers"]
    assert not parts.share.takes


async def test_what_could_not_be_given_back_is_at_the_next_look() -> None:
    parts = Parts()
    parts.failures = 1
    dispatcher = parts.dispatcher()
    with pytest.raises(StoreUnusable):
        await dispatcher._drain()
    assert parts.done == ["messages"]
    await dispatcher._drain()
    assert parts.done[-2:] == ["runs", "workers"]


async def test_a_worker_whose_start_was_under_way_is_told_as_well() -> None:
    parts = Parts()
    dispatcher = parts.dispatcher()
    parts.starts.starting[new_run("00a1").run] = False
    await dispatcher._drain()
    parts.starts.starting.clear()
    await dispatcher._drain()
    await dispatcher._drain()
    assert parts.done.count("workers") == 2
