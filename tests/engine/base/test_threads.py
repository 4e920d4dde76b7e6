"""Sync stages in threads: context, results, and stops that reach inside."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from po_jupyter.engine.base.interrupts import Stopped
from po_jupyter.engine.base.threads import Threads

PLACE: ContextVar[str] = ContextVar("place", default="")


async def test_a_function_runs_in_a_thread_with_the_callers_context() -> None:
    threads = Threads(2)
    PLACE.set("here")
    try:
        place, thread = await threads.run(lambda word: (PLACE.get() + word, threading.current_thread()), "!")
    finally:
        threads.close()
    assert place == "here!"
    assert thread is not threading.main_thread()


async def test_a_cancellation_is_raised_inside_the_thread() -> None:
    threads = Threads(2)
    started, ended = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.001)
        except Stopped:
            ended.set()

    task = asyncio.ensure_future(threads.run(work))
    await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)
    threads.close()
