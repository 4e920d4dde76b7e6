"""Calls of a stage: on the loop, from a thread, and stopped when the stage is over."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.engine.base.interrupts import Stopped
from po_jupyter.engine.chat.starter import CallStarter


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


async def test_an_async_stage_awaits_and_a_sync_one_waits() -> None:
    starter = CallStarter()
    assert starter.on_loop
    assert await starter.run(answer()) == 42
    assert await asyncio.to_thread(lambda: starter.run(answer())) == 42


async def test_what_a_stage_left_behind_is_stopped() -> None:
    starter = CallStarter()
    endless = starter.start(asyncio.Event().wait())
    waiting = asyncio.ensure_future(asyncio.to_thread(lambda: starter.run(asyncio.Event().wait())))
    await asyncio.sleep(0.05)
    starter.close()
    with pytest.raises(Stopped):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await endless
    with pytest.raises(Stopped):
        await asyncio.to_thread(lambda: starter.run(answer()))
