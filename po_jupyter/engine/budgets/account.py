"""Accounts of a run's budgets: a limit, the amount used, and the amount set aside for calls in flight."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount, dollars
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
    """One budget of a run. `name` is `run` or a task's name; `warned`: its warning was given."""

    __slots__ = ("held", "holds", "limits", "name", "used", "warned")

    def __init__(self, name: str, limits: BudgetLimits, used: Amount = ZERO, *, warned: bool = False) -> None:
        """An account with nothing set aside, of which `used` is used already."""
        self.name = name
        self.limits = limits
        self.used = used
        self.held = ZERO
        self.holds = 0
        self.warned = warned

    def fits(self, worst: Amount) -> bool:
        """Whether a call of that size can be sent now."""
        return self.limits.allow(self.used.plus(self.held).plus(worst))

    def hold(self, worst: Amount) -> None:
        """Set an amount aside."""
        self.held = self.held.plus(worst)
        self.holds += 1

    def adjust(self, freed: Amount, used: Amount) -> None:
        """Take `freed` off a hold (a negative amount adds to it) and count `used`; the hold stays."""
        self.held = self.held.minus(freed)
        self.used = self.used.plus(used)

    def settle(self, worst: Amount, used: Amount) -> None:
        """End a hold of `worst` and count `used`."""
        self.holds -= 1
        self.held = self.held.minus(worst) if self.holds else ZERO  # no drift of floats over a long run
        self.used = self.used.plus(used)

    def exceeded(self, worst: Amount) -> BudgetExceeded:
        """The error of a call that does not fit."""
        limits = self.limits
        subject = "the budget" if self.name == "run" else f"the budget of task {self.name!r}"
        if limits.usd is not None and self.used.usd + worst.usd > limits.usd:
            message = (
                f"{subject} of {dollars(limits.usd)} is spent: {dollars(self.used.usd)} used, "
                f"and the next call could cost {dollars(worst.usd)}"
            )
        else:
            message = (
                f"{subject} of {limits.tokens:,} tokens is spent: {self.used.tokens:,} used, "
                f"and the next call could take {worst.tokens:,}"
            )
        option = "N" if self.name == "run" else f"{self.name}=N"
        return BudgetExceeded(
            message,
            hint=f"What is finished is kept. Resume with a larger budget: po resume RUN --budget {option}.",
            details={"scope": self.name, "used": self.used.to_json(), "budget": limits.to_json()},
        )


class Hold(NamedTuple):
    """An amount set aside for one call: on these accounts, and on this day of the owner's."""

    worst: Amount
    accounts: tuple[Account, ...]
    day: str | None = None
