"""Coroutines of which none is left behind, tasks that their owner ends, and locks that are not kept."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from po_jupyter.platform.concurrency import BackgroundTasks, KeyedLocks, gather_or_cancel


async def test_the_first_error_ends_the_others_before_it_is_raised() -> None:
    ended: list[str] = []

    async def work(name: str, error: Exception | None = None) -> None:
        try:
            await asyncio.sleep(0 if error else 60)
            if error:
                raise error
        finally:
            ended.append(name)

    with pytest.raises(KeyError, match="as it came"):
        await gather_or_cancel([work("a"), work("b", KeyError("as it came")), work("c")])
    assert sorted(ended) == ["a", "b", "c"]


async def test_a_cancellation_ends_them_all() -> None:
    ended: list[int] = []

    async def work(i: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(i)

    task = asyncio.create_task(gather_or_cancel(work(i) for i in range(3)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]


async def test_background_tasks_are_waited_for_or_cancelled_and_errors_are_told() -> None:
    tasks = BackgroundTasks()
    done: list[str] = []

    async def work(seconds: float, error: bool = False) -> None:
        await asyncio.sleep(seconds)
        if error:
            raise ValueError("nobody awaits it")
        done.append("done")

    with structlog.testing.capture_logs() as logs:
        tasks.start(work(0.01), "short")
        tasks.start(work(0.0, error=True), "broken")
        await tasks.wait()
        await asyncio.sleep(0)
    assert done == ["done"]
    (line,) = logs
    assert (line["event"], line["task"], line["log_level"]) == ("unexpected", "broken", "error")
    assert str(line["exc_info"]) == "nobody awaits it"
    tasks.start(work(60), "long")
    await asyncio.sleep(0)
    await tasks.cancel()
    await tasks.wait()
    assert done == ["done"]


async def test_a_key_is_locked_for_one_and_forgotten_when_nobody_wants_it() -> None:
    locks = KeyedLocks()
    order: list[str] = []

    async def hold(key: str, name: str) -> None:
        async with locks.locked(key):
            order.append(f"{name} in")
            await asyncio.sleep(0.01)
            order.append(f"{name} out")

    await asyncio.gather(hold("a", "first"), hold("a", "second"), hold("b", "other"))
    assert order.index("first out") < order.index("second in")
    assert order.index("other in") < order.index("first out")
    assert locks._locks == {}
