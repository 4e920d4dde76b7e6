"""The share that a run has of its owner's day (G1): taken from the ledger, given back, waited for, run out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets.daily_ledger import LedgerEntry
from po_jupyter.engine.budgets.daily_share import DailyShare
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import open_session
from po_jupyter.errors import BudgetExceeded
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, Bench, new_run

OTHER = RUN[:-1] + "0"


def request(answer: int = 100) -> ChatRequest:
    return ChatRequest("fake:echo", (Message("user", "hi"),), max_tokens=answer)


@dataclass
class Day:
    """A store with two runs of one owner, and a clock that is told what time it is."""

    store: MemoryStore = field(default_factory=MemoryStore)
    time: float = 1_790_000_000.0

    def __post_init__(self) -> None:
        for run in (RUN, OTHER):
            new_run(self.store, {"name": "p", "tasks": [{"name": "a", "prompt": "x"}]}, {}, run)

    def share(self, run: str = RUN, tokens: int = 1000, ttl: float = 100.0) -> DailyShare:
        return DailyShare(self.store, "me", run, BudgetLimits(tokens=tokens), ttl=ttl, clock=lambda: self.time)

    def document(self) -> Any:
        (name,) = self.store.names(ledger.KIND)[-1:]
        return self.store.get(ledger.KIND, name)


@pytest.mark.integration
async def test_two_runs_of_one_owner_share_the_day() -> None:
    day = Day()
    one, two = day.share(), day.share(OTHER)
    first, second = BudgetGuard(day=one), BudgetGuard(day=two)
    holds = [await first.reserve(request()) for _ in range(5)]
    others_holds = [await second.reserve(request()) for _ in range(4)]
    assert ledger.share_of_others(day.document(), "")[0].tokens <= 1000
    for hold in holds:
        first.settle(hold, Usage(output_tokens=100, calls=1))
    for hold in others_holds:
        second.settle(hold, Usage(output_tokens=90, calls=1))
    await first.aclose()
    await second.aclose()
    assert day.document() == {"ended": {"usd": 0.0, "tokens": 860}, "runs": {}}
    third = BudgetGuard(day=day.share(OTHER))
    await third.reserve(request(answer=100))
    fourth = BudgetGuard(day=day.share())
    day.time += 200  # the share of `third` is void, and its log knows of no call
    with pytest.raises(BudgetExceeded) as caught:
        await fourth.reserve(request(answer=2000))
    assert "a day is spent: 860 used since 00:00 UTC by all of me's runs" in caught.value.message
    assert caught.value.details["scope"] == "day"
    for budget in (third, fourth):
        await budget.aclose()


@pytest.mark.integration
async def test_a_share_that_others_hold_is_waited_for() -> None:
    """Reservations shrink concurrency before they stop a run: what another run gives back is taken."""
    day = Day()
    first, second = BudgetGuard(day=day.share(tokens=250)), BudgetGuard(day=day.share(OTHER, tokens=250))
    hold = await first.reserve(request(answer=200))
    waiting = asyncio.ensure_future(second.reserve(request(answer=200)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    first.settle(hold, Usage(output_tokens=3, calls=1))
    await first.aclose()
    second.settle(await asyncio.wait_for(waiting, 5), Usage())
    await second.aclose()
    assert day.document()["ended"]["tokens"] == 3


async def test_what_a_dead_worker_used_is_read_in_its_log() -> None:
    """A reservation expires; the settled sum of its run comes from the log (P1)."""
    day = Day()
    dead = day.share()
    budget = BudgetGuard(day=dead)
    await budget.reserve(request(answer=400))
    when = draft("x")["at"][:10]
    lease = day.store.claim(RUN, {"pid": 1})
    key = "a/-/1/0/inference/h/0"
    usage = {"input_tokens": 5, "output_tokens": 45, "cost": 0.0, "calls": 1}
    day.store.commit(
        lease,
        Commit(
            calls=[
                {"key": key, "kind": "intent", "reserved": [0.0, 420]},
                {"key": key, "kind": "response", "ok": True, "response": {"usage": usage}, "answer": 0},
                {"key": key[:-1] + "1", "kind": "intent", "reserved": [0.0, 420]},
            ],
            payloads=["x"],
        ),
    )
    # The log has the real day in it: look at the document of that day.
    from datetime import UTC, datetime

    now = datetime.now(UTC).timestamp()
    name = ledger.name_of("me", when)
    day.store.put(
        ledger.KIND,
        name,
        ledger.with_entry(None, RUN, LedgerEntry(Amount(), Amount(0.0, 900), now - 1, Amount())),
    )
    day.time = now
    other = BudgetGuard(day=day.share(OTHER))
    hold = await other.reserve(request(answer=400))
    entry = ledger.entry_of(day.store.get(ledger.KIND, name), RUN)
    assert entry is not None
    assert entry.used.tokens == 50 + 420, "the answered call, and the lost one at its worst case"
    assert entry.reserved == Amount()
    other.settle(hold, Usage())
    await other.aclose()
    for task in (dead._reporting,):
        assert task is not None
        task.cancel()


@pytest.mark.integration
async def test_what_dead_workers_of_runs_held_keeps_nobody_waiting_for_the_next_ones() -> None:
    """Each of the runs waited for what the dead worker of the other one held, until that ran out after minutes."""
    day = Day()
    for run in (RUN, OTHER):
        dead = day.share(run)
        await BudgetGuard(day=dead).reserve(request(answer=400))
        assert dead._reporting is not None
        dead._reporting.cancel()
    assert ledger.share_of_others(day.document(), "")[0].tokens > 800
    budgets = [BudgetGuard(day=day.share(run)) for run in (RUN, OTHER)]
    async with asyncio.timeout(30):
        calls = (budget.reserve(request(answer=2000)) for budget in budgets)
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [BudgetExceeded, BudgetExceeded]
    assert all("a day is spent: 0 used" in str(error) for error in found)
    for budget in budgets:
        await budget.aclose()


async def test_the_day_ends_at_midnight() -> None:
    day = Day()
    day.time = 1_790_000_000.0 // 86400 * 86400 + 86400 - 60
    share = day.share(ttl=8.0)
    budget = BudgetGuard(day=share)
    late = await budget.reserve(request(answer=800))
    day.time += 61
    early = await budget.reserve(request(answer=800))
    budget.settle(late, Usage(output_tokens=800, calls=1))
    budget.settle(early, Usage(output_tokens=700, calls=1))
    await budget.aclose()
    sums = [day.store.get(ledger.KIND, n)["ended"]["tokens"] for n in day.store.names(ledger.KIND)]
    assert len(sums) == 2
    assert sums[0] >= 800, "a call that was in flight at midnight counts as its worst case"
    assert sums[1] == 700


async def test_a_run_stops_at_the_budget_of_its_owners_day(bench: Bench) -> None:
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": "range(40)", "max_concurrency": 4}
    bench.create([task], llm={"model": "fake:echo", "max_tokens": 50})
    lease = bench.store.claim(bench.run, {"pid": 1})
    from po_jupyter.config import Settings

    session = await open_session(
        bench.store,
        lease,
        settings=Settings(data_dir=bench.tmp, daily_tokens=400),
        providers=Providers({}, opened={"fake": bench.fake}),
    )
    assert await RunExecutor(session).run() == "failed"
    await session.aclose()
    assert session.log.state.error is not None
    assert session.log.state.error["code"] == "budget_exceeded"
    used = session.log.state.usage.input_tokens + session.log.state.usage.output_tokens
    assert 250 < used <= 400
    (name,) = bench.store.names(ledger.KIND)
    document = bench.store.get(ledger.KIND, name)
    assert document == {"ended": {"usd": 0.0, "tokens": used}, "runs": {}}
    assert [e["data"]["scope"] for e in bench.events("budget.warning")] in (["day"], [])
