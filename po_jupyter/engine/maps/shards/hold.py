"""The share of a budget that a child run has: set aside whole, and counted as used as its log grows.

The child keeps within its share by itself, so the sum of all children never overruns the budget, wherever they work.
The limit of the owner's day is not in it: a child takes its part of that as every run does.
"""

from __future__ import annotations

from typing import NamedTuple

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount


class Share(NamedTuple):
    """Limits of one child run; None: no limit of that kind."""

    usd: float | None = None
    tokens: int | None = None

    @property
    def amount(self) -> Amount:
        """The amount that is set aside."""
        return Amount(self.usd or 0.0, self.tokens or 0)

    @property
    def is_nothing(self) -> bool:
        """Whether no call at all fits into it."""
        return (self.usd is not None and self.usd <= 0) or (self.tokens is not None and self.tokens < 1)


def shares_of(guard: BudgetGuard | None, task: str, count: int) -> Share | None:
    """The share of each of `count` child runs in what is left; None where nothing is limited."""
    accounts = guard.accounts_of(task) if guard is not None else ()
    usd = [left.usd for account in accounts if account.limits.usd is not None for left in [_left(account)]]
    tokens = [
        left.tokens for account in accounts if account.limits.tokens is not None for left in [_left(account)]
    ]
    if not usd and not tokens:
        return None
    return Share(min(usd) / count if usd else None, min(tokens) // count if tokens else None)


def is_worth_taking(guard: BudgetGuard, task: str, share: Share) -> bool:
    """Whether a share is at least half of what is not used: else calls and child runs at work have more of it set
    aside, and what they do not use is free soon. True where nothing is set aside."""
    for account in guard.accounts_of(task):
        limits = account.limits
        unused = Amount(limits.usd or 0.0, limits.tokens or 0).minus(account.used)
        if account.holds and (
            (limits.usd is not None and share.usd is not None and 2 * share.usd < unused.usd)
            or (limits.tokens is not None and share.tokens is not None and 2 * share.tokens < unused.tokens)
        ):
            return False
    return True


def _left(account: Account) -> Amount:
    limits = Amount(account.limits.usd or 0.0, account.limits.tokens or 0)
    return limits.minus(account.used).minus(account.reserved)


class ShardHold:
    """The amount set aside for one child run on the accounts of its task. A child that uses more than its share takes
    nothing of what others have."""

    __slots__ = ("_accounts", "_guard", "_remaining")

    def __init__(self, guard: BudgetGuard, task: str, remaining: Amount) -> None:
        """Set `remaining` aside: the share, less what the log of the map has as used already."""
        self._guard = guard
        self._accounts = guard.accounts_of(task)
        self._remaining = remaining
        for account in self._accounts:
            account.hold(remaining)

    def use(self, amount: Amount) -> None:
        """Count what the child used; less than nothing where a call cost less than was feared."""
        before, self._remaining = self._remaining, self._remaining.change_since(amount)
        freed = before.minus(ZERO).change_since(self._remaining.minus(ZERO))
        for account in self._accounts:
            account.adjust(freed, amount)
        self._guard.warn(self._accounts)

    def keeps(self, share: Share) -> bool:
        """Whether a child run with that share keeps every limit that there is now: one of a resume may be new."""
        return all(
            (account.limits.usd is None or share.usd is not None)
            and (account.limits.tokens is None or share.tokens is not None)
            and account.limits.allow(account.used.plus(account.reserved))
            for account in self._accounts
        )

    def release(self) -> None:
        """End the hold: the child has ended. Again it does nothing."""
        accounts, self._accounts = self._accounts, ()
        for account in accounts:
            account.settle(self._remaining.minus(ZERO), ZERO)
        self._guard.decide_waiting_calls()
