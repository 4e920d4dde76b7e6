"""G1, P7: a budget holds with retries too. A try that was, or may have been, billed is paid from the budget, and the
next one needs room of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.engine.budgets import daily_usage as daily
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import ModelError, ModelRateLimited, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.money.tokens import estimate_messages
from po_jupyter.model.run.usage import Usage
from tests.support.engine import Bench

ANSWER = 50
QUICK = {"model": "fake:echo", "max_tokens": ANSWER, "retry": {"max_attempts": 3, "initial_delay": 0}}


class Vendor:
    """Bills every request as much as it can, and fails the first tries of each as it is told."""

    name = "fake"

    def __init__(self, fails: Callable[[Usage], ModelError], tries: int = 1, billed: bool = True) -> None:
        self.fails, self.tries, self.billed = fails, tries, billed
        self.bill = 0
        self.seen: Counter[str] = Counter()

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        asked = estimate_messages(m.content for m in request.messages)
        usage = Usage(input_tokens=asked, output_tokens=ANSWER, cost=0.0, calls=1)
        self.seen[request.messages[-1].content] += 1
        failing = self.seen[request.messages[-1].content] <= self.tries
        if self.billed or not failing:
            self.bill += asked + ANSWER
        if failing:
            raise self.fails(usage)
        return ChatResponse("ok", usage, request.model)

    async def aclose(self) -> None:
        return None


def timeout(usage: Usage) -> ModelError:
    return ModelUnavailable("fake: no answer within 60 s", details={"outcome": "unknown"})


def broken(usage: Usage) -> ModelError:
    return ModelUnavailable("fake: the stream broke off", details={"usage": usage.to_json()})


def limited(usage: Usage) -> ModelError:
    return ModelRateLimited("fake: slowly", retry_after=0.0)


def made(bench: Bench, vendor: Vendor, rows: int, budget: int | None, width: int = 4) -> Bench:
    bench.fake = vendor
    task = {"name": "m", "prompt": "row {{ item }}", "for_each": f"range({rows})", "max_concurrency": width}
    more: dict[str, Any] = {} if budget is None else {"budget": {"tokens": budget}}
    return bench.create([{**task, "retry": {"max_attempts": 1}}], llm=QUICK, **more)


def calls(bench: Bench) -> Counter[str]:
    return Counter(call["kind"] for record in bench.records() for call in record["calls"])


@pytest.mark.parametrize(("fails", "unknown"), [(timeout, True), (broken, False)])
@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("budget", [300, 1000, 1777])
async def test_what_a_vendor_may_bill_for_retries_stays_within_the_budget(
    bench: Bench, fails: Callable[[Usage], ModelError], unknown: bool, tries: int, budget: int
) -> None:
    """Issue 3, Done when 1: never exceeded, not even by calls in flight; and the log says the same after it."""
    vendor = Vendor(fails, tries)
    made(bench, vendor, 40, budget)
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert bench.state.error["code"] == "budget_exceeded"
    assert budget - 4 * 70 < vendor.bill <= budget, "and nearly all of it can be used"
    async with bench.worker() as session:  # another process reads the log
        spent = session.history.spent.of_tasks()["m"].tokens
    assert vendor.bill <= spent <= budget
    usage = bench.state.usage
    assert bool(usage.unknown) is unknown
    if unknown:
        shown = daily.advanced(None, bench.records())
        days = daily.settled(shown, bench.store.head(bench.run))
        assert (
            daily.report(days, "")["total"]["unknown"] == sum(vendor.seen.values()) - calls(bench)["response"]
        )
    bench.resume("m", budget={"tokens": 100_000})
    assert await bench.go() == "done"
    assert all(row["ok"] for row in bench.output("m"))


async def test_a_refused_try_was_not_billed_and_keeps_its_room(bench: Bench) -> None:
    """429, 5xx: an answer, and no bill; one intent, no unknown outcome, the whole budget for what is answered."""
    vendor = Vendor(limited, tries=2, billed=False)
    made(bench, vendor, 5, 5 * 70, width=1)
    assert await bench.go() == "done"
    assert calls(bench) == {"intent": 5, "response": 5}
    assert bench.state.usage.unknown == 0
    assert sum(vendor.seen.values()) == 15


async def test_a_try_that_does_not_fit_is_not_made(bench: Bench) -> None:
    """One call, room for one try: the second is not sent, and what the first may have cost stays counted."""
    vendor = Vendor(timeout)
    bench.fake = vendor
    bench.create([{"name": "a", "prompt": "x"}], llm=QUICK, budget={"tokens": 100})
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert bench.state.error["code"] == "budget_exceeded"
    assert sum(vendor.seen.values()) == 1
    assert bench.state.usage.unknown == 1
    account = bench.session.calls.budget and bench.session.calls.budget.run
    assert account is not None
    assert (account.reserved, account.holds) == (Amount(), 0)
    bench.resume("a", budget={"tokens": 1000})
    assert await bench.go() == "done"


async def test_a_last_try_of_unknown_outcome_counts_as_its_worst(bench: Bench) -> None:
    """Also without a budget it is shown, and after a crash the same attempt fails in the same way without paying."""
    vendor = Vendor(timeout, tries=3)
    made(bench, vendor, 1, 1000)
    assert await bench.go() == "failed"
    (row,) = bench.events("item.failed")
    assert row["data"]["error"]["code"] == "model_unavailable"
    assert bench.state.usage.unknown == 3
    account = bench.session.calls.budget and bench.session.calls.budget.run
    assert account is not None
    assert account.used.tokens >= vendor.bill == 3 * (vendor.bill // 3)
    async with bench.worker() as session:
        assert session.history.spent.of_tasks()["m"] == account.used
    assert calls(bench) == {"intent": 3, "response": 1}
    assert [e["data"]["usage"]["unknown"] for e in bench.events("call.unknown")] == [1, 1]


async def test_without_a_budget_it_is_counted_all_the_same(bench: Bench) -> None:
    """P3: an unknown outcome is visible."""
    made(bench, Vendor(timeout), 3, None)
    assert await bench.go() == "done"
    usage = bench.state.usage
    assert (usage.unknown, usage.calls) == (3, 6)
