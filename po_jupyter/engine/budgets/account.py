"""Accounts of a run's budgets: a limit, the amount used, and the amount set aside for calls in flight."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import NONE_LOST, ZERO, Amount, LostCalls, dollars
from po_jupyter.errors import BudgetExceeded

# The worst case that is set aside for the call being made: its intent records it, so that a lost call stays counted.
reserved: ContextVar[Amount | None] = ContextVar("po_reserved", default=None)


class ReservedDay(NamedTuple):
    """The day of its owner's that a call is set aside on (None: no day is limited). `moved`: an earlier try of it was
    set aside on another day."""

    day: str | None
    moved: bool = False


reserved_day: ContextVar[ReservedDay | None] = ContextVar("po_reserved_day", default=None)


class Account:
    """One budget of a run. `name` is `run` or a task's name; `warned`: its warning was given.

    `lost` is the part of `used` that is only reserved, for calls whose outcome nobody knows.
    """

    __slots__ = ("holds", "limits", "lost", "name", "reserved", "used", "warned")

    def __init__(
        self,
        name: str,
        limits: BudgetLimits,
        used: Amount = ZERO,
        *,
        lost: LostCalls = NONE_LOST,
        warned: bool = False,
    ) -> None:
        """An account with nothing reserved, of which `used` is used already."""
        self.lost = lost
        self.name = name
        self.limits = limits
        self.used = used
        self.reserved = ZERO
        self.holds = 0
        self.warned = warned

    def fits(self, worst: Amount) -> bool:
        """Whether a call of that size can be sent now."""
        return self.limits.allow(self.used.plus(self.reserved).plus(worst))

    def hold(self, worst: Amount) -> None:
        """Set an amount aside."""
        self.reserved = self.reserved.plus(worst)
        self.holds += 1

    def adjust(self, freed: Amount, used: Amount) -> None:
        """Take `freed` off a hold (a negative amount adds to it) and count `used`; the hold stays."""
        self.reserved = self.reserved.minus(freed)
        self.used = self.used.plus(used)

    def settle(self, worst: Amount, used: Amount, *, lost: bool = False) -> None:
        """End a hold of `worst` and count `used`. `lost`: nobody will know the outcome of the call, and `worst`, which
        is in `used`, stays reserved for it."""
        if lost:
            self.lost = self.lost.plus(1, worst)
        self.holds -= 1
        self.reserved = self.reserved.minus(worst) if self.holds else ZERO  # no drift of floats over a long run
        self.used = self.used.plus(used)

    def exceeded(self, worst: Amount) -> BudgetExceeded:
        """The error of a call that does not fit."""
        limits = self.limits
        known = self.used.minus(self.lost.amount)
        subject = "the budget" if self.name == "run" else f"the budget of task {self.name!r}"
        if limits.usd is not None and self.used.usd + worst.usd > limits.usd:
            message = (
                f"{subject} of {dollars(limits.usd)} is spent: {dollars(known.usd)} used, "
                f"{self.lost.clause(dollars(self.lost.amount.usd))}and the next call could cost {dollars(worst.usd)}"
            )
        else:
            message = (
                f"{subject} of {limits.tokens:,} tokens is spent: {known.tokens:,} used, "
                f"{self.lost.clause(f'{self.lost.amount.tokens:,}')}and the next call could take {worst.tokens:,}"
            )
        return BudgetExceeded(
            message,
            hint=larger_budget(None if self.name == "run" else self.name),
            details={
                "scope": self.name,
                "used": self.used.to_json(),
                "reserved": {**self.lost.amount.to_json(), "calls": self.lost.calls},
                "budget": limits.to_json(),
            },
        )


def larger_budget(task: str | None) -> str:
    """What to do about a budget that is spent: of the run, or of that task."""
    option = "N" if task is None else f"{task}=N"
    return f"What is finished is kept. Resume with a larger budget: po resume RUN --budget {option}."


class Hold(NamedTuple):
    """An amount set aside for one call: on these accounts, and on this day of the owner's."""

    worst: Amount
    accounts: tuple[Account, ...]
    day: str | None = None
