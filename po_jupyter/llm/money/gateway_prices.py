"""The prices in a gateway's list of models: `models` of `GET api/models`, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from po_jupyter.config import Price
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.team_prices import TeamPrice

MOST_MODELS = 10_000


def entries_in(answer: object) -> list[Mapping[str, object]]:
    """The entries of an answer. Raises ValueError for one without any."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("models"), list):
        raise ValueError("it has no models")
    return [one for one in answer["models"][:MOST_MODELS] if isinstance(one, Mapping) and one.get("model")]


def prices_in(entries: Iterable[Mapping[str, object]], provider: str = "") -> dict[str, TeamPrice]:
    """The prices by model, of one provider or all. Raises ValueError for one that is none."""
    return {
        ref: _price(ref, entry)
        for entry in entries
        if not provider or str(entry["model"]).startswith(f"{provider}:")
        for ref in (str(entry["model"])[:300],)
    }


def amount(entry: Mapping[str, object], name: str) -> float | None:
    """US dollars for a million tokens; None where there are none. Raises ValueError."""
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"a price of {str(entry['model'])!r:.80} is no amount")
    return float(value)


def _price(ref: str, entry: Mapping[str, object]) -> TeamPrice:
    """The price in an entry, whose `price` is the whole one that the admin has set."""
    if entry.get("price") is not None:
        try:
            return Price.model_validate(entry["price"])
        except ValidationError:
            raise ValueError(f"the price of {ref!r:.80} is none") from None
    input, output = amount(entry, "input_per_million"), amount(entry, "output_per_million")
    if input is None or output is None:
        return "unknown"
    listed = LIST_PRICES.per_million(ref)
    return "list" if listed == {"input": input, "output": output} else Price(input=input, output=output)
