"""Signals to a run: drain, stop, rest, and a look at the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.run.signals import RunSignals
from po_jupyter.model.run.events import draft
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN, new_run


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[RunLog]:
    store = MemoryStore()
    pipeline = new_run(store, {"name": "p", "tasks": [{"name": "a", "prompt": "a"}]}, {})
    log = RunLog(store, store.claim(RUN, {"pid": 1}), read_history(store, RUN), pipeline)
    yield log
    await log.aclose()


async def test_a_drain_ends_a_sleep_and_every_checkpoint(log: RunLog) -> None:
    signals = RunSignals(log)
    signals.checkpoint()
    sleeping = asyncio.ensure_future(signals.sleep(60))
    await asyncio.sleep(0)
    signals.drain()
    with pytest.raises(Drained):
        await sleeping
    with pytest.raises(Drained):
        signals.checkpoint()
    assert log.wake.is_set()


async def test_a_drain_ends_work_that_costs_nothing_but_time(log: RunLog) -> None:
    signals = RunSignals(log)
    assert await signals.unless_drained(asyncio.sleep(0, "made")) == "made"
    working = asyncio.ensure_future(asyncio.sleep(60))
    waiting = asyncio.ensure_future(signals.unless_drained(asyncio.wait_for(working, None)))
    await asyncio.sleep(0)
    signals.drain()
    with pytest.raises(Drained):
        await waiting
    assert working.cancelled()
    unstarted = asyncio.sleep(60)
    with pytest.raises(Drained):
        await signals.unless_drained(unstarted)
    unstarted.close()


async def test_a_run_that_left_stops_at_the_next_checkpoint(log: RunLog) -> None:
    signals = RunSignals(log)
    await signals.sleep(0.001)
    log.close()
    with pytest.raises(Stopped):
        await signals.sleep(60)


async def test_the_run_rests_while_all_of_its_tasks_do(log: RunLog) -> None:
    heard: list[bool] = []
    signals = RunSignals(log, on_rest=heard.append)
    signals.running |= {"a", "b"}
    signals.rest("a", True)
    signals.rest("b", True)
    signals.rest("a", False)
    assert heard == [False, True, False]


async def test_a_hint_reads_what_others_wrote(log: RunLog) -> None:
    signals = RunSignals(log)
    log.store.request(RUN, [draft("run.cancel_requested", by="me")])
    log.wake.clear()
    signals.cancel_hint()
    await log.wake.wait()
    assert log.state.cancel_requested
