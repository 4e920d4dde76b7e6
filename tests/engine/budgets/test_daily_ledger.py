"""G1: the ledger of a day, whatever its workers do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets.daily_ledger import LedgerEntry
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import Amount

RUNS = st.sampled_from(["a", "b", "c"])
STEP = st.one_of(
    st.tuples(st.just("take"), RUNS, st.integers(1, 60)),
    st.tuples(st.just("use"), RUNS, st.integers(1, 60)),
    st.tuples(st.just("give"), RUNS, st.integers(0, 60)),
    st.tuples(st.just("crash"), RUNS, st.just(0)),
    st.tuples(st.just("leave"), RUNS, st.just(0)),
    st.tuples(st.just("time"), RUNS, st.integers(1, 30)),
)


@settings(max_examples=300)
@given(st.lists(STEP, max_size=60), st.integers(20, 200))
def test_a_day_is_never_exceeded_whatever_happens(steps: list[tuple[str, str, int]], limit: int) -> None:
    """G1: workers take, use, give back, crash, leave and expire in any order; what is used stays in the limit.

    The model of a worker is the contract of `DailyShare`: it uses only what its share has, while it holds.
    """
    document: Any = None
    now, ttl = 0.0, 20.0
    logs = dict.fromkeys("abc", 0)  # what each run truly used
    alive: dict[str, LedgerEntry] = {}
    limits = BudgetLimits(tokens=limit)

    def derived() -> Any:
        found = document
        for run in ledger.overdue(found, now):
            entry = ledger.entry_of(found, run)
            assert entry is not None
            truly = Amount(0.0, logs[run]).minus(entry.base)
            found = ledger.with_entry(found, run, LedgerEntry(truly, Amount(), 0.0, entry.base))
            if run in alive:
                alive[run] = alive[run]._replace(until=0.0)
        return found

    for what, run, n in steps:
        mine = alive.get(run)
        if what == "time":
            now += n
        elif what == "take":
            document = derived()
            if mine is None:
                known = ledger.entry_of(document, run)
                base = Amount(0.0, logs[run]) if known is None else known.base
                mine = LedgerEntry(base=base)
            used = Amount(0.0, logs[run]).minus(mine.base)
            reserved = Amount(0.0, max(n, mine.whole.minus(used).tokens if now < mine.until else 0))
            entry = LedgerEntry(used, reserved, now + ttl, mine.base)
            if ledger.allowed(document, run, entry, limits):
                document = ledger.with_entry(document, run, entry)
                alive[run] = entry
        elif mine is not None and what == "use":
            used = Amount(0.0, logs[run]).minus(mine.base)
            if now < mine.until and used.tokens + n <= mine.whole.tokens:
                logs[run] += n
        elif mine is not None and what == "give":
            used = Amount(0.0, logs[run]).minus(mine.base)
            reserved = Amount(0.0, min(n, mine.whole.minus(used).tokens))
            if now < mine.until:
                alive[run] = LedgerEntry(used, reserved, now + ttl, mine.base)
                document = ledger.with_entry(document, run, alive[run])
        elif what == "crash":
            alive.pop(run, None)
        elif mine is not None and what == "leave":
            document = ledger.without(document, run, Amount(0.0, logs[run]).minus(mine.base))
            alive.pop(run)
        assert sum(logs.values()) <= limit


def test_a_share_that_ran_out_with_something_held_is_overdue() -> None:
    document = ledger.with_entry(None, "a", LedgerEntry(Amount(0.0, 5), Amount(0.0, 10), until=50.0))
    document = ledger.with_entry(document, "b", LedgerEntry(Amount(0.0, 5), Amount(), until=50.0))
    assert set(ledger.overdue(document, 60.0)) == {"a"}
    assert ledger.overdue(document, 40.0) == {} == ledger.overdue(document, 60.0, except_run="a")


def test_what_others_use_and_hold_leaves_the_rest() -> None:
    document = ledger.with_entry(None, "a", LedgerEntry(Amount(0.0, 30), Amount(0.0, 20)))
    limits = BudgetLimits(tokens=100)
    assert ledger.share_of_others(document, "b") == (Amount(0.0, 50), True)
    assert ledger.allowed(document, "b", LedgerEntry(reserved=Amount(0.0, 50)), limits)
    assert not ledger.allowed(document, "b", LedgerEntry(reserved=Amount(0.0, 51)), limits)
    left = ledger.without(document, "a", Amount(0.0, 31))
    assert left == {"ended": {"usd": 0.0, "tokens": 31}, "runs": {}} and ledger.used(left).tokens == 31


def test_less_than_was_granted_is_always_allowed() -> None:
    document = ledger.with_entry(None, "a", LedgerEntry(reserved=Amount(0.0, 500)))
    assert ledger.allowed(document, "a", LedgerEntry(Amount(0.0, 400), Amount(0.0, 50)), BudgetLimits(tokens=1))
