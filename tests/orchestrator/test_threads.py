"""Blocking work runs in a thread, in the context of its caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from po_jupyter.errors import RateLimited, Unavailable
from po_jupyter.orchestrator.threads import RETRY_AFTER, BoundedThreads, ThreadRunner
from po_jupyter.telemetry.correlation import request_id


async def test_work_runs_beside_the_loop_with_its_callers_context() -> None:
    """P9, and a log line of the thread names the request."""
    to_thread = ThreadRunner(1)
    token = request_id.set("r1")
    try:
        name, request = await to_thread(lambda: (threading.current_thread().name, request_id.get()))
    finally:
        request_id.reset(token)
    assert name.startswith("po-orchestrator")
    assert request == "r1"
    with pytest.raises(ZeroDivisionError):
        await to_thread(divmod, 1, 0)
    to_thread.close()
    with pytest.raises(RuntimeError):
        await to_thread(divmod, 1, 1)


def test_a_pool_has_all_its_threads_from_the_start_or_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """C8: a pool keeps work whose thread cannot be started, and would do it after saying that it failed."""
    pool = ThreadRunner(3)
    started = [t for t in threading.enumerate() if t.name.startswith("po-orchestrator")]
    assert len(started) >= 3
    pool.close()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(Unavailable, match="can't start new thread"):
        ThreadRunner(3)


async def test_more_work_than_may_wait_is_refused() -> None:
    """C2: a bounded queue, and a time after which to ask again; what nobody waits for any more counts until it ends."""
    go_on = threading.Event()
    pool = BoundedThreads(1, 1, "po-test")
    threads = pool.of("me")
    running = [asyncio.create_task(threads(go_on.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited) as refused:
        await threads(go_on.wait, 10)
    assert refused.value.retry_after == RETRY_AFTER
    running[0].cancel()
    await asyncio.wait(running[:1])
    with pytest.raises(RateLimited):
        await threads(go_on.wait, 10)
    go_on.set()
    assert await running[1]
    assert await threads(divmod, 5, 2) == (2, 1)
    pool.close()


async def test_one_owner_does_not_keep_another_out() -> None:
    """C2: eight requests of one owner took every thread and every place in the queue."""
    go_on = threading.Event()
    pool = BoundedThreads(2, 2, "po-test")
    theirs = [asyncio.create_task(pool.of("a")(go_on.wait, 10)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await pool.of("a")(divmod, 5, 2)
    async with asyncio.timeout(5):
        assert await pool.of("b")(divmod, 5, 2) == (2, 1)
        assert await pool.of("c")(divmod, 5, 2) == (2, 1)
    assert not any(task.done() for task in theirs)
    go_on.set()
    assert await asyncio.gather(*theirs) == [True] * 4
    pool.close()


async def test_owners_take_turns() -> None:
    order: list[str] = []
    first, second = threading.Event(), threading.Event()
    pool = BoundedThreads(1, 5, "po-test")
    held = [asyncio.create_task(pool.of(who)(gate.wait, 10)) for who, gate in (("x", first), ("y", second))]
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(pool.of(who)(order.append, who)) for who in "aaabb"]
    await asyncio.sleep(0)
    first.set()  # the other goes on: there is one thread for all that wait
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert order == [*"ababa"]
    second.set()
    await asyncio.gather(*held)
    pool.close()


async def test_work_that_waits_when_they_are_closed_is_dropped() -> None:
    go_on = threading.Event()
    pool = BoundedThreads(1, 1, "po-test")
    first, second = (asyncio.create_task(pool.of("me")(go_on.wait, 10)) for _ in range(2))
    await asyncio.sleep(0)
    pool.close()
    go_on.set()
    assert await first
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_work_whose_thread_cannot_be_started_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool keeps it, and did it with the next work, after its caller had been told that it failed."""
    done: list[str] = []
    pool = BoundedThreads(1, 0, "po-test")

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            await pool.of("me")(done.append, "refused")
    begun, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return go_on.wait(10)

    running = asyncio.create_task(pool.of("me")(work))
    assert await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(RateLimited):  # what runs is counted as before
        await pool.of("me")(done.append, "too much")
    go_on.set()
    assert await running
    assert done == []
    pool.close()
