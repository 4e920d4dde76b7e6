"""A hundred users on a fake clock against balances, queue and ledger (issue 12, "Done when" 3)."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from po_jupyter.hub.accounts.balances import NANO, Admitted, Balances, Demand, Hold, Waiting
from po_jupyter.hub.accounts.fair_queue import FairQueue
from po_jupyter.hub.accounts.ledger import Amounts, Ledger, in_full
from po_jupyter.hub.accounts.periods import Calendar, Period
from po_jupyter.hub.config import LimitBook, Limits
from po_jupyter.hub.problems import GatewayProblem

pytestmark = pytest.mark.integration
ZONE = "Europe/Berlin"
MODEL = "openai:gpt-5-mini"


@dataclass
class World:
    """A gateway's core without HTTP: calls come, wait, run and are settled in the order of a fake clock.

    `spent` is what a vendor billed, by scope and period: the truth that limits are held against. Calls that run when
    the process is killed may have been billed, up to what they could take.
    """

    path: Path
    book: LimitBook
    account: Limits
    now: float
    seed: int
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    done: list[tuple[float, str]] = field(default_factory=list)
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = asyncio.new_event_loop()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.running: dict[str, Hold] = {}
        self.open()

    def open(self) -> None:
        self.balances = Balances(Calendar(ZONE), lambda: self.book, lambda provider: self.account)
        self.queue: FairQueue[Demand] = FairQueue()
        self.ledger = Ledger(str(self.path))
        self.ledger.open()
        month = self.balances.calendar.period(self.now).month
        for row in self.loop.run_until_complete(self.ledger.change(self.ledger.totals(f"{month}-01"))):
            amounts = row.amounts
            period = Period(row.day, row.day[:7])
            self.balances.count(row.user, row.groups, period, amounts.calls, amounts.tokens, amounts.nano)

    def kill(self) -> None:
        """The process dies: what its thread had committed is all that is left. Whoever ran may have been billed."""
        for hold in self.running.values():
            self.bill(hold, hold.demand.nano or 0)
        self.running.clear()
        self.ledger.close()
        self.open()

    def close(self) -> None:
        self.ledger.close()
        self.loop.close()

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (seconds, next(self.order), act))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.now, _, act = heapq.heappop(self.events)
            act()

    # -- calls ------------------------------------------------------------------------------------------
    def call(self, demand: Demand) -> None:
        self.queue.push(demand.user, demand.provider, demand)
        self.pump()

    def pump(self) -> None:
        seconds = self.queue.admit(self.attempt)
        if seconds is not None and len(self.queue):
            self.at(self.now + max(seconds, 0.001), self.pump)

    def attempt(self, demand: Demand) -> Admitted | Waiting | None:
        try:
            verdict = self.balances.verdict(demand, self.now)
        except GatewayProblem as problem:
            self.problems[problem.code] += 1
            return None
        if isinstance(verdict, Admitted):
            hold = self.balances.reserve(f"{next(self.order)}", demand, self.now)
            self.loop.run_until_complete(self.ledger.reserve([hold]))
            self.running[hold.id] = hold
            self.most_in_flight = max(self.most_in_flight, len(self.running))
            self.at(self.now + self.random.uniform(20, 200), lambda: self.finish(hold))
        return verdict

    def finish(self, hold: Hold) -> None:
        if self.running.pop(hold.id, None) is None:
            return  # of a process that was killed
        demand, kind = hold.demand, self.random.random()
        if kind < 0.05:
            amounts = in_full(demand)  # lost: the vendor may have billed all of it
        else:
            part = 1.0 if kind < 0.3 else self.random.random()
            amounts = Amounts(
                demand.input_tokens, int(demand.output_tokens * part), nano=int((demand.nano or 0) * part)
            )
        self.bill(hold, amounts.nano)
        self.done.append((self.now, demand.user))
        self.balances.settle(hold, amounts.tokens, amounts.nano)
        self.ledger.settle(hold, amounts)
        self.pump()

    def bill(self, hold: Hold, nano: int) -> None:
        user, groups = hold.demand.user, hold.demand.groups
        for scope in (f"user:{user}", *(f"group:{group}" for group in groups), "all"):
            for period in hold.period:
                self.spent[scope, period] += nano

    def check(self) -> None:
        """Nobody is over any budget, by not a cent: not by a billionth of a dollar."""
        for (scope, period), nano in self.spent.items():
            kind, _, name = scope.partition(":")
            limits = self.book.all if kind == "all" else self.book.groups.get(name) or Limits()
            if kind == "user":
                limits = self.book.users.get(name, self.book.each_user)
            limit = limits.usd_per_month if len(period) == 7 else limits.usd_per_day
            if limit is not None:
                assert nano <= round(limit * NANO), (scope, period, nano / NANO, limit)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()


BOOK = LimitBook(
    all=Limits(usd_per_month=60.0, usd_per_day=25.0, concurrency=50),
    each_user=Limits(usd_per_day=0.5, usd_per_month=0.9, calls_per_minute=60),
    users={"user-7": Limits(usd_per_day=0.01)},
    groups={"red": Limits(usd_per_day=6.0, usd_per_month=9.0), "blue": Limits(usd_per_month=3.0)},
)


def demands(world: World, count: int, begin: float, end: float) -> None:
    for _ in range(count):
        n = world.random.randrange(100)
        groups = tuple(group for group, size in (("blue", 30), ("red", 60)) if n < size)
        nano = world.random.randrange(1_000_000, 40_000_000)
        demand = Demand(f"user-{n}", groups, MODEL, 1000, world.random.randrange(1, 4000), nano)
        world.at(world.random.uniform(begin, end), lambda demand=demand: world.call(demand))  # type: ignore[misc]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_hundred_users_in_two_hours_over_months_end_are_never_over_by_a_cent(
    tmp_path: Path, seed: int
) -> None:
    """From eleven in the evening of the month's last day: midnight and the month's end in the middle, 50 in flight,
    the process killed three times."""
    begin = seconds("2026-10-31T23:00:00")
    world = World(tmp_path / "ledger.sqlite", BOOK, Limits(), begin, seed)
    demands(world, 2500 if seed == 0 else 6000, begin, begin + 7200)
    for part in (1500.0, 3500.0, 3700.0, 5000.0):
        world.run(begin + part)
        world.kill()
        world.check()
    world.run(begin + 20_000)
    world.check()
    assert world.most_in_flight == 50 and world.problems["budget_exceeded"] > 100
    # The limits were reached, so that they were tried: nearly all of a user's two days was used by somebody.
    assert max(nano for (scope, period), nano in world.spent.items() if scope == "group:blue") > 2.9 * NANO
    months = {period for _, period in world.spent}
    assert {"2026-10", "2026-11", "2026-10-31", "2026-11-01"} <= months
    world.close()
    reopened = World(world.path, BOOK, Limits(), world.now, seed)
    rows = reopened.loop.run_until_complete(reopened.ledger.change(reopened.ledger.totals("0000")))
    assert sum(row.amounts.nano for row in rows) == sum(
        nano for (scope, period), nano in world.spent.items() if scope == "all" and len(period) == 7
    )
    reopened.close()


def test_fifty_in_flight_at_the_edge_of_a_budget_leave_nothing_over(tmp_path: Path) -> None:
    """A budget of a dollar and calls of up to seven cents: what is reserved is never more than what is left."""
    book = LimitBook(all=Limits(usd_per_day=1.0, concurrency=50))
    world = World(tmp_path / "ledger.sqlite", book, Limits(), seconds("2026-11-27T12:00:00"), 3)
    for n in range(500):
        demand = Demand(f"user-{n % 10}", (), MODEL, 100, 100, 70_000_000 - n)
        world.at(world.now, lambda demand=demand: world.call(demand))  # type: ignore[misc]
    world.run(world.now + 7200)
    world.check()
    assert 0.92 * NANO < world.spent["all", "2026-11-27"] <= NANO
    world.close()


def test_a_users_thousand_calls_do_not_stop_anothers_two(tmp_path: Path) -> None:
    """Fairness: alice's thousand came first, and bob's two are among the next."""
    world = World(tmp_path / "ledger.sqlite", LimitBook(), Limits(concurrency=10), 1_800_000_000.0, 1)
    for _ in range(1000):
        world.call(Demand("alice", (), MODEL, 10, 10, 1))
    for _ in range(2):
        world.call(Demand("bob", (), MODEL, 10, 10, 1))
    world.run(world.now + 100_000)
    order = [user for _, user in world.done]
    assert len(order) == 1002
    # Ten ran already; then each turn is one of each, so both are admitted within the next four.
    assert max(n for n, user in enumerate(order) if user == "bob") < 40
    world.close()


def test_a_call_reserved_before_midnight_is_settled_in_its_own_day(tmp_path: Path) -> None:
    book = LimitBook(each_user=Limits(usd_per_day=1.0))
    world = World(tmp_path / "ledger.sqlite", book, Limits(), seconds("2026-12-31T23:59:59"), 1)
    dear = Demand("alice", (), MODEL, 1, 1, NANO)
    world.call(dear)
    (hold,) = world.running.values()
    assert hold.period == ("2026-12-31", "2026-12")
    world.now = seconds("2027-01-01T00:00:00")
    world.call(dear)  # a whole new budget, although the other one still runs
    assert len(world.running) == 2 and not world.problems
    world.finish(hold)
    windows = world.balances.windows("alice", (), world.now)
    day = next(w for w in windows if (w["scope"], w["window"], w["unit"]) == ("user:alice", "day", "usd"))
    assert (day["used"], day["reserved"]) == (0.0, 1.0)
    world.close()
