"""What is used and reserved, held against limits."""

from __future__ import annotations

import pytest

from po_jupyter.hub.accounts.balances import NANO, Balances, Demand, Permitted, Waiting
from po_jupyter.hub.accounts.periods import Calendar
from po_jupyter.hub.config import LimitBook, Limits
from po_jupyter.hub.problems import GatewayProblem

NOON = 1_795_780_800.0  # 2026-11-27 12:00 UTC


def balances(book: LimitBook, account: Limits | None = None) -> Balances:
    return Balances(Calendar("UTC"), lambda: book, lambda provider: account or Limits())


def demand(user: str = "alice", tokens: int = 100, cents: float | None = 1.0, **more: object) -> Demand:
    nano = None if cents is None else round(cents * NANO / 100)
    return Demand(user, ("red",), "openai:gpt-5-mini", tokens // 2, tokens - tokens // 2, nano, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("book", "scope"),
    [
        (LimitBook(each_user=Limits(usd_per_day=0.025)), "user:alice"),
        (LimitBook(users={"alice": Limits(usd_per_month=0.025)}), "user:alice"),
        (LimitBook(groups={"red": Limits(usd_per_day=0.025)}), "group:red"),
        (LimitBook(all=Limits(usd_per_month=0.025)), "all"),
        (LimitBook(each_user=Limits(tokens_per_day=250)), "user:alice"),
        (LimitBook(groups={"red": Limits(tokens_per_month=250)}), "group:red"),
    ],
)
def test_each_budget_ends_where_the_next_call_would_go_over(book: LimitBook, scope: str) -> None:
    kept = balances(book)
    holds = [kept.reserve(str(n), demand(), NOON) for n in range(2)]
    waiting = kept.verdict(demand(), NOON)
    assert isinstance(waiting, Waiting) and waiting.scope == scope  # calls that run may leave room
    for hold in holds:
        kept.settle(hold, 100, NANO // 100)
    with pytest.raises(GatewayProblem) as refused:
        kept.verdict(demand(), NOON)
    problem = refused.value
    assert (problem.status, problem.code) == (429, "budget_exceeded") and scope in problem.message
    assert problem.resets_at in (NOON + 12 * 3600, NOON + 3.5 * 86400) and problem.retry_after is not None


def test_what_a_call_did_not_use_is_there_again() -> None:
    kept = balances(LimitBook(each_user=Limits(usd_per_day=0.02)))
    hold = kept.reserve("1", demand(cents=2.0), NOON)
    assert isinstance(kept.verdict(demand(), NOON), Waiting)
    kept.settle(hold, 10, 1)
    assert isinstance(kept.verdict(demand(), NOON), Permitted)


def test_a_batch_is_counted_as_used_while_it_is_reserved() -> None:
    """It may be a day until it is settled: nobody waits for that."""
    kept = balances(LimitBook(each_user=Limits(usd_per_day=0.02, concurrency=1, calls_per_minute=1)))
    hold = kept.reserve("1", demand(cents=2.0, is_batch=True), NOON)
    with pytest.raises(GatewayProblem, match="budget"):
        kept.verdict(demand(), NOON)
    kept.settle(hold, 10, 1)
    assert isinstance(kept.verdict(demand(), NOON), Permitted) and kept.in_flight() == 0


def test_a_model_without_a_price_is_refused_under_a_limit_in_dollars_only() -> None:
    kept = balances(LimitBook(each_user=Limits(tokens_per_day=1000), groups={"blue": Limits(usd_per_day=1)}))
    assert isinstance(kept.verdict(demand(cents=None), NOON), Permitted)
    with pytest.raises(GatewayProblem) as refused:
        balances(LimitBook(all=Limits(usd_per_month=5))).verdict(demand(cents=None), NOON)
    assert refused.value.code == "model_not_allowed" and "price" in refused.value.message


def test_short_limits_wait_and_say_for_how_long() -> None:
    kept = balances(LimitBook(each_user=Limits(calls_per_minute=2)))
    for n in range(2):
        kept.settle(kept.reserve(str(n), demand(), NOON + n), 1, 1)
    waiting = kept.verdict(demand(), NOON + 10)
    assert isinstance(waiting, Waiting) and waiting.seconds == 50
    assert isinstance(kept.verdict(demand(), NOON + 60), Permitted)


def test_concurrency_waits_for_a_call_to_end() -> None:
    kept = balances(LimitBook(), Limits(concurrency=1))
    hold = kept.reserve("1", demand(), NOON)
    waiting = kept.verdict(demand("bob"), NOON)
    assert isinstance(waiting, Waiting) and (waiting.scope, waiting.seconds) == ("provider:openai", None)
    kept.settle(hold, 1, 1)
    assert isinstance(kept.verdict(demand("bob"), NOON), Permitted)


def test_a_call_larger_than_a_minutes_tokens_goes_alone() -> None:
    kept = balances(LimitBook(each_user=Limits(tokens_per_minute=50)))
    assert isinstance(kept.verdict(demand(tokens=1000), NOON), Permitted)
    kept.reserve("1", demand(tokens=1000), NOON)
    assert isinstance(kept.verdict(demand(tokens=1), NOON + 59), Waiting)
    assert isinstance(kept.verdict(demand(tokens=1000), NOON + 60), Permitted)


def test_a_user_without_limits_of_their_own_has_those_of_each() -> None:
    book = LimitBook(each_user=Limits(usd_per_day=0), users={"alice": Limits()})
    assert isinstance(balances(book).verdict(demand("alice"), NOON), Permitted)
    with pytest.raises(GatewayProblem):
        balances(book).verdict(demand("bob"), NOON)


def test_old_days_are_forgotten() -> None:
    kept = balances(LimitBook())
    for day in range(200):
        kept.settle(kept.reserve(str(day), demand(), NOON + day * 86400), 1, 1)
    assert len(kept._scope("all").tallies) <= 64


def test_the_windows_show_what_is_used_and_reserved() -> None:
    kept = balances(LimitBook(each_user=Limits(usd_per_day=2), all=Limits(tokens_per_month=5000)))
    kept.settle(kept.reserve("1", demand(), NOON), 60, NANO // 200)
    kept.reserve("2", demand(), NOON)
    rows = {(r["scope"], r["window"], r["unit"]): r for r in kept.windows("alice", ("red",), NOON)}
    assert rows["user:alice", "day", "usd"] == {
        "scope": "user:alice", "window": "day", "unit": "usd", "used": 0.005, "reserved": 0.01, "limit": 2,
        "resets_at": "2026-11-28T00:00:00Z",
    }  # fmt: skip
    month = rows["all", "month", "tokens"]
    assert (month["used"], month["reserved"], month["limit"]) == (60, 100, 5000)
    assert rows["group:red", "minute", "calls"]["used"] == 2 and len(rows) == 18


def test_a_call_that_no_new_day_has_room_for_is_refused_for_good() -> None:
    """A run would wait for tomorrow, and for the day after that."""
    for limits in (Limits(usd_per_day=0.005), Limits(tokens_per_month=99), Limits(usd_per_day=0)):
        with pytest.raises(GatewayProblem, match="max_tokens") as refused:
            balances(LimitBook(each_user=limits)).verdict(demand(), NOON)
        assert (refused.value.status, refused.value.code) == (400, "invalid_request")
        assert refused.value.resets_at is None


def test_a_month_is_not_forgotten_by_a_clock_that_goes_over_its_end_and_back() -> None:
    kept, end = balances(LimitBook(each_user=Limits(usd_per_month=0.02))), NOON + 3.5 * 86400
    for cents in (1.0, 0.5):
        kept.settle(kept.reserve("1", demand(cents=cents), end - 5), 100, round(cents * NANO / 100))
    kept.settle(kept.reserve("2", demand(cents=0), end + 5), 1, 0)
    with pytest.raises(GatewayProblem, match="budget"):
        kept.verdict(demand(), end - 1)
