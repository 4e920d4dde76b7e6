"""Limits of a budget."""

from __future__ import annotations

from po_jupyter.engine.budgets.limits import BudgetLimits, warning_data
from po_jupyter.engine.replay.spent_from_log import Amount


def test_a_limit_holds_for_each_kind_by_itself() -> None:
    limits = BudgetLimits(usd=1.0, tokens=100)
    assert limits.allow(Amount(1.0, 100))
    assert not limits.allow(Amount(1.01, 1)) and not limits.allow(Amount(0.1, 101))
    assert BudgetLimits().allow(Amount(1e9, 10**9))


def test_the_drift_of_sums_is_no_money() -> None:
    assert BudgetLimits(usd=0.3).allow(Amount(0.1 + 0.2, 0))


def test_the_nearer_limit_counts() -> None:
    assert BudgetLimits(usd=1.0, tokens=100).fraction(Amount(0.2, 90)) == 0.9
    assert BudgetLimits().fraction(Amount(5.0, 5)) == 0.0


def test_limits_are_read_from_a_runs_budget() -> None:
    assert BudgetLimits.from_json({"tokens": 5, "tasks": 1}) == BudgetLimits(None, 5)
    assert BudgetLimits(0.5).to_json() == {"usd": 0.5, "tokens": None}


def test_a_warning_has_the_numbers() -> None:
    assert warning_data("run", Amount(0.0, 85), BudgetLimits(tokens=100)) == {
        "scope": "run",
        "used": {"usd": 0.0, "tokens": 85},
        "budget": {"usd": None, "tokens": 100},
        "fraction": 0.85,
    }
