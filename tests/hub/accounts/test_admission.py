"""Admission on an event loop: at once, after a wait, or not."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.hub.accounts.admission import GatewayAdmission
from po_jupyter.hub.accounts.balances import Balances, Demand
from po_jupyter.hub.accounts.periods import Calendar
from po_jupyter.hub.config import LimitBook, Limits, QueueConfig
from po_jupyter.hub.problems import GatewayProblem


def admission(limits: Limits, *, now: list[float] | None = None, **queue: float) -> GatewayAdmission:
    clock = now or [1_800_000_000.0]
    balances = Balances(Calendar("UTC"), lambda: LimitBook(all=limits))
    return GatewayAdmission(balances, lambda: QueueConfig(**queue), lambda: clock[0])  # type: ignore[arg-type]


def demand(user: str = "alice", nano: int = 10) -> Demand:
    return Demand(user, (), "p:m", 1, 1, nano)


async def test_a_call_waits_for_another_to_end() -> None:
    door = admission(Limits(concurrency=1))
    first = await door.admit("1", demand())
    second = asyncio.create_task(door.admit("2", demand()))
    third = asyncio.create_task(door.admit("3", demand("bob")))
    await asyncio.sleep(0)
    assert door.waiting == 2
    door.settle(first, 1, 1)
    hold = await second
    assert not third.done()
    door.settle(hold, 1, 1)
    door.settle(await third, 1, 1)
    assert door.waiting == 0 and door.balances.in_flight() == 0


async def test_a_minute_that_passes_lets_it_in() -> None:
    now = [1_800_000_000.0]
    door = admission(Limits(calls_per_minute=1), now=now)
    door.settle(await door.admit("1", demand()), 1, 1)
    now[0] += 59.98
    waiting = asyncio.create_task(door.admit("2", demand()))
    await asyncio.sleep(0)
    now[0] += 0.05
    assert (await asyncio.wait_for(waiting, 5)).id == "2"


async def test_the_queue_is_bounded_in_time_and_in_number() -> None:
    door = admission(Limits(concurrency=0), seconds=0.01, per_user=1, total=2)
    answers = await asyncio.gather(*(door.admit(str(n), demand()) for n in range(3)), return_exceptions=True)
    assert all(isinstance(a, GatewayProblem) and a.code == "rate_limited" and a.retry_after for a in answers)
    assert "full" in str(answers[1]) and "0.01 s" in str(answers[0]) and door.waiting == 0


async def test_a_budget_that_is_spent_meanwhile_ends_the_wait() -> None:
    door = admission(Limits(usd_per_day=20e-9))
    hold = await door.admit("1", demand(nano=15))
    waiting = asyncio.create_task(door.admit("2", demand(nano=15)))
    await asyncio.sleep(0)
    door.settle(hold, 1, 15)
    with pytest.raises(GatewayProblem, match="budget"):
        await waiting


async def test_who_gives_up_leaves_nothing_reserved() -> None:
    door = admission(Limits(concurrency=1))
    hold = await door.admit("1", demand())
    waiting = [asyncio.create_task(door.admit(str(n), demand())) for n in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    door.settle(hold, 1, 1)  # in the same moment
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert door.waiting == 0
    for result in results:
        if not isinstance(result, BaseException):
            door.settle(result, 1, 1)
    assert door.balances.in_flight() == 0


async def test_nobody_passes_those_who_wait() -> None:
    door = admission(Limits(concurrency=1))
    hold = await door.admit("1", demand())
    order: list[str] = []

    async def call(name: str) -> None:
        held = await door.admit(name, demand())
        order.append(name)
        door.settle(held, 1, 1)

    calls = [asyncio.create_task(call(str(n))) for n in range(20)]
    await asyncio.sleep(0)
    door.settle(hold, 1, 1)
    await asyncio.gather(*calls)
    assert order == [str(n) for n in range(20)]
