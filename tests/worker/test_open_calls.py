"""B4: a worker has no more calls open than it has descriptors for, and says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.llm.calls.admission import UNLIMITED, Pass
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.run.usage import Usage
from po_jupyter.worker.open_calls import RESERVE, CallSlots, OpenCalls

REQUEST = ChatRequest("openai:gpt-5-mini", (Message("user", "hello"),))
AGENT = ChatRequest("claude-cli:x", (Message("user", "hello"),))
ANSWER = ChatResponse("hi", Usage(calls=1))


def calls(free: int | None, **more: Any) -> OpenCalls:
    return OpenCalls(UNLIMITED, CallSlots(left=lambda: free), **more)


async def opened(bound: OpenCalls, request: ChatRequest = REQUEST) -> Pass:
    return bound.enter(request, "t") or await bound.wait(request, "t")


async def test_as_many_calls_as_there_are_descriptors_and_the_others_wait_in_their_order() -> None:
    free = RESERVE + 3
    bound = OpenCalls(UNLIMITED, CallSlots(left=lambda: free))
    open_now = [await opened(bound) for _ in range(2)]
    free = RESERVE + 1
    open_now.append(await opened(bound))
    order: list[int] = []

    async def one(n: int) -> None:
        admitted = await opened(bound)
        order.append(n)
        admitted.answered(ANSWER)

    waiting = [asyncio.ensure_future(one(n)) for n in range(5)]
    await asyncio.sleep(0)
    assert bound.enter(REQUEST, "t") is None and order == []
    free = RESERVE + 3
    for admitted in open_now:
        admitted.answered(ANSWER)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]


async def test_answers_that_come_together_let_no_more_go_than_there_is_room_for() -> None:
    bound, most, now = calls(RESERVE + 4), 0, 0

    async def one() -> None:
        nonlocal most, now
        admitted = await opened(bound)
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        admitted.answered(ANSWER)

    await asyncio.gather(*(one() for _ in range(40)))
    assert most == 4


async def test_what_tasks_open_themselves_counts() -> None:
    free = RESERVE + 10
    bound = OpenCalls(UNLIMITED, CallSlots(left=lambda: free))
    for _ in range(5):
        await opened(bound)
    free = RESERVE  # a task opened files, or connections wait for their next call
    assert bound.enter(REQUEST, "t") is None
    free = RESERVE + 5
    assert bound.enter(REQUEST, "t") is not None


async def test_one_call_goes_whatever_is_left() -> None:
    bound = calls(0)
    first = await opened(bound)
    assert bound.enter(REQUEST, "t") is None
    first.answered(ANSWER)
    assert bound.enter(AGENT, "t") is not None


async def test_nothing_is_bounded_where_nothing_limits_files() -> None:
    bound = calls(None)
    assert None not in [bound.enter(REQUEST, "t") for _ in range(5000)]


async def test_people_see_that_max_concurrency_is_lowered_and_that_it_is_over() -> None:
    seen: list[tuple[str, str | None]] = []
    bound = calls(RESERVE + 1, on_wait=lambda task, reason, seconds: seen.append((task, reason)))
    first = await opened(bound)
    second = asyncio.ensure_future(opened(bound))
    await asyncio.sleep(0)
    [(task, reason)] = seen
    assert task == "t" and reason is not None and "max_concurrency is lowered to 1" in reason
    first.answered(ANSWER)
    await second
    assert seen[1:] == [("t", None)]


@pytest.mark.parametrize("end", ["drain", "cancel"])
async def test_a_wait_that_ends_leaves_nothing_behind(end: str) -> None:
    bound = calls(RESERVE + 1)
    first = await opened(bound)
    second = asyncio.ensure_future(opened(bound))
    await asyncio.sleep(0)
    if end == "drain":
        bound.drain()
        with pytest.raises(Drained):
            await second
    else:
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    first.failed(ValueError())
    assert bound.enter(REQUEST, "t") is not None
