"""The prices of a team's models, as the gateway of a hub says them: of calls that go through it, and of no others.

They weigh more than the setting `prices` of a user there: the gateway counts budgets with them. It says of a model:

    a price     the admin's, or the gateway's list has another one than ours
    "list"      that of the list, with all its details
    "unknown"   the gateway knows none, and counts none

A provider is *pending* while it goes through a gateway that has not said anything yet. While it is away after a
restart, the prices that it said last are *kept*: they hold, and a model that is not among them is pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from po_jupyter.config import Price
from po_jupyter.model.values.json import JsonObject

TeamPrice: TypeAlias = Price | Literal["list", "unknown"]

PENDING: Mapping[str, object] = {}
"""What is said of a provider whose prices are not known yet."""


def answer_of(prices: Mapping[str, TeamPrice]) -> JsonObject:
    """What is said of a provider whose prices are known, as it goes from process to process."""
    return {
        "models": {
            ref: price if isinstance(price, str) else price.model_dump(exclude_none=True)
            for ref, price in prices.items()
        }
    }


def models_in(answer: Mapping[str, object]) -> dict[str, TeamPrice]:
    """The prices in an answer of `answer_of`, by model. Raises ValueError for one that is none."""
    models = answer.get("models")
    return {str(ref): _read(price) for ref, price in models.items()} if isinstance(models, Mapping) else {}


class TeamPrices:
    """The prices by provider, as far as they were learnt."""

    __slots__ = ("_kept", "_known", "_through")

    def __init__(self, answers: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """`answers` by provider, for those that go through a gateway. Raises ValueError for a price that is none."""
        self._known: dict[str, dict[str, TeamPrice]] = {}
        self._through: set[str] = set()
        self._kept: set[str] = set()
        for provider, answer in (answers or {}).items():
            self.learn(provider, answer)

    def learn(self, provider: str, answer: Mapping[str, object] | None) -> None:
        """Take over what is said of a provider; None: its calls do not go through a gateway (any more).

        The first prices stay: a run has one price for a model from its start to its end. Raises ValueError.
        """
        if answer is None:
            self._through.discard(provider)
            return
        self._through.add(provider)
        if "models" in answer and (provider not in self._known or provider in self._kept):
            self._known[provider] = models_in(answer) | self._known.get(provider, {})
            (self._kept.add if answer.get("kept") else self._kept.discard)(provider)

    def find(self, ref: str) -> TeamPrice | None:
        """What the gateway says of a model that is asked through it; None: nothing, or it is asked elsewhere."""
        provider = ref.partition(":")[0]
        return self._known.get(provider, {}).get(ref) if provider in self._through else None

    def is_pending(self, ref: str) -> bool:
        """Whether a model is asked through a gateway that has not said its price yet."""
        provider = ref.partition(":")[0]
        known = self._known.get(provider)
        is_missing = known is None or (provider in self._kept and ref not in known)
        return provider in self._through and is_missing


def _read(price: object) -> TeamPrice:
    if price == "list" or price == "unknown":
        return price
    return Price.model_validate(price)
