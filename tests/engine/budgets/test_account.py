"""One budget: what fits, what is set aside, and the words of its error."""

from __future__ import annotations

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import Amount


def test_used_and_held_take_room() -> None:
    account = Account("run", BudgetLimits(tokens=100), Amount(0.0, 30))
    account.hold(Amount(0.0, 40))
    assert account.fits(Amount(0.0, 30)) and not account.fits(Amount(0.0, 31))
    account.settle(Amount(0.0, 40), Amount(0.0, 10))
    assert (account.used.tokens, account.reserved.tokens, account.holds) == (40, 0, 0)


def test_sums_of_floats_do_not_drift() -> None:
    account = Account("run", BudgetLimits(usd=1.0))
    for _ in range(1000):
        account.hold(Amount(0.1, 0))
        account.hold(Amount(0.2, 0))
        account.settle(Amount(0.1, 0), Amount())
        account.settle(Amount(0.2, 0), Amount())
    assert account.reserved == Amount()


def test_a_hold_is_adjusted_both_ways() -> None:
    account = Account("run", BudgetLimits(tokens=100))
    account.hold(Amount(0.0, 10))
    account.adjust(Amount(0.0, -20), Amount())
    assert account.reserved.tokens == 30
    account.adjust(Amount(0.0, 10), Amount(0.0, 4))
    assert (account.reserved.tokens, account.used.tokens, account.holds) == (20, 4, 1)


def test_a_tiny_budget_is_written_as_people_write_it() -> None:
    """P11: not $1e-06."""
    refused = Account("run", BudgetLimits(usd=0.000001)).exceeded(Amount(0.000103, 1))
    assert "the budget of $0.000001 is spent: $0 used" in refused.message
    assert "could cost $0.000103" in refused.message


def test_the_error_names_the_budget_and_how_to_give_more() -> None:
    refused = Account("label", BudgetLimits(tokens=1000), Amount(0.0, 990)).exceeded(Amount(0.0, 50))
    assert "the budget of task 'label' of 1,000 tokens is spent: 990 used" in refused.message
    assert "--budget label=N" in (refused.hint or "")
    assert refused.details["scope"] == "label" and refused.details["budget"] == {"usd": None, "tokens": 1000}
