"""Holds of batches: the worst case of many calls, set aside row by row and settled answer by answer."""

from __future__ import annotations

from po_jupyter.engine.budgets.account import Account, Hold
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount
from po_jupyter.model.run.usage import Usage


class BatchHold:
    """The amount set aside for one batch on the accounts of its task, and on a day of the owner's.

    `remaining` is the part of it that no answer has settled.
    """

    __slots__ = ("_accounts", "_begun", "_day", "_guard", "remaining")

    def __init__(self, guard: BudgetGuard, task: str) -> None:
        """A hold with nothing set aside."""
        self._guard = guard
        self._accounts: tuple[Account, ...] = guard.accounts_of(task)
        self._day: str | None = None
        self._begun = False
        self.remaining = ZERO

    @classmethod
    def adopt(cls, guard: BudgetGuard, task: str, remaining: Amount) -> BatchHold:
        """The hold of a batch from before a restart: the log has it among the amounts used."""
        hold = cls(guard, task)
        hold.remaining, hold._begun = remaining, True
        for account in hold._accounts:
            account.used = account.used.minus(remaining)
            account.hold(remaining)
        return hold

    async def widen(self, worst: Amount) -> bool:
        """Set that much more aside; False when it does not fit now. Waits for the ledger of the day only."""
        day = self._guard.day
        if day is not None and not day.fits(worst) and not await day.acquire(worst):
            return False
        if not all(account.fits(worst) for account in self._accounts):
            return False
        if not self._begun:
            self._begun = True
            for account in self._accounts:
                account.hold(worst)
            self._day = day.hold(worst) if day is not None else None
        else:
            self._adjust(Amount(-worst.usd, -worst.tokens), ZERO)
        self.remaining = self.remaining.plus(worst)
        return True

    async def begin(self, worst: Amount) -> None:
        """Set the first amount aside; waits while calls in flight may free that much. Raises BudgetExceeded."""
        hold = await self._guard.reserve_amount(worst, self._accounts)
        self._day, self._begun, self.remaining = hold.day, True, worst

    def settle(self, part: Amount, used: Usage) -> None:
        """Count the usage of one answer, for which `part` was set aside."""
        cost = used.cost if used.cost is not None else part.usd
        self._adjust(part, Amount(cost, used.input_tokens + used.output_tokens))
        self.remaining = self.remaining.minus(part)
        self._guard.warn(self._accounts)
        self._guard.decide_waiting_calls()

    def release(self) -> None:
        """End the hold: nothing of what remains was used. Does nothing a second time."""
        if self._begun:
            self._begun = False
            self._guard.settle(Hold(self.remaining, self._accounts, self._day), Usage())

    def _adjust(self, freed: Amount, used: Amount) -> None:
        for account in self._accounts:
            account.adjust(freed, used)
        if self._guard.day is not None and self._day is not None:
            self._guard.day.adjust(self._day, freed, used)
