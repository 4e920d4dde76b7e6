"""Limits of a budget: US dollars and tokens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import BudgetWarningData

WARN_AT = 0.8  # of a limit


class BudgetLimits(NamedTuple):
    """The limits of one budget, of a run, a task or a day; None: no limit of that kind."""

    usd: float | None = None
    tokens: int | None = None

    @classmethod
    def from_json(cls, limits: Mapping[str, float | int | None]) -> BudgetLimits:
        """The limits in `{usd?, tokens?}`; other keys are left out."""
        tokens = limits.get("tokens")
        return cls(limits.get("usd"), int(tokens) if tokens is not None else None)

    def allow(self, amount: Amount) -> bool:
        """Whether that much may be used."""
        # A billionth of a dollar is what sums of floats drift, not money.
        fits = self.usd is None or amount.usd <= self.usd + 1e-9
        return fits and (self.tokens is None or amount.tokens <= self.tokens)

    def fraction(self, amount: Amount) -> float:
        """`amount` as a fraction of the nearer limit."""
        return max(
            amount.usd / self.usd if self.usd else 0.0,
            amount.tokens / self.tokens if self.tokens else 0.0,
        )

    def to_json(self) -> JsonObject:
        """`{usd, tokens}`."""
        return {"usd": self.usd, "tokens": self.tokens}


def warning_data(scope: str, used: Amount, limits: BudgetLimits) -> BudgetWarningData:
    """The data of a `budget.warning`."""
    return {
        "scope": scope,
        "used": {**used.to_json()},
        "budget": limits.to_json(),
        "fraction": round(limits.fraction(used), 3),
    }
