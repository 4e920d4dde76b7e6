"""What a call cost, in US dollars, from the price list that `genai-prices` carries (no network call).

Unknown stays unknown: a model without a price gives a cost of None, never 0. Local and fake models cost 0.
The setting `prices` weighs more than the list, and knows models that are in no list (`use_prices`). Only what a
provider itself says of a call's cost weighs more still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from po_jupyter.config import Price
from po_jupyter.llm.specs import specs
from po_jupyter.model.run.usage import Usage

_MILLION = 1_000_000
_Cost = Callable[[Usage], float | None]
_own: Mapping[str, Price] = {}  # of the settings; one process works with one set of them


def _now() -> datetime:
    """Some prices depend on the hour."""
    return datetime.now(UTC)


def use_prices(prices: Mapping[str, Price]) -> None:
    """Have the prices of the settings count in this process from now on."""
    global _own
    if prices != _own:
        _own = dict(prices)
        _pricer.cache_clear()


def priced(usage: Usage, ref: str, answered_by: str = "") -> Usage:
    """`usage` with its cost, unless it has one already (a provider that bills by itself says so).

    `ref` is the model ref of the request, `answered_by` the model that the provider names in its answer; it
    is tried when the first has no price.
    """
    if usage.cost is not None:
        return usage
    cost = cost_of(usage, ref)
    if cost is None and answered_by:
        cost = cost_of(usage, f"{ref.partition(':')[0]}:{answered_by}")
    return usage if cost is None else Usage.model_construct(**{**usage.__dict__, "cost": cost})


def cost_of(usage: Usage, ref: str) -> float | None:
    """US dollars for `usage` of the model `ref`, or None when its price is unknown."""
    cost = _pricer(ref)
    return None if cost is None else cost(usage)


def per_million(ref: str) -> dict[str, float] | None:
    """US dollars for a million tokens, `{input, output}`, of a small call; None: unknown."""
    cost = _pricer(ref)
    if cost is None:
        return None
    asked, said = cost(Usage(input_tokens=1000)), cost(Usage(output_tokens=1000))
    if asked is None or said is None:
        return None
    return {"input": round(asked * 1000, 6), "output": round(said * 1000, 6)}


def is_priced(ref: str) -> bool:
    """Whether the price of a model is known: a budget in dollars needs it."""
    return _pricer(ref) is not None


@lru_cache(maxsize=1024)
def _pricer(ref: str) -> _Cost | None:
    """The price function of a model. Where it has one flat price, the list is asked only once."""
    provider, _, model = ref.partition(":")
    if (own := _own.get(ref)) is not None:
        cached = own.input if own.cached is None else own.cached
        return _flat(own.input, cached, own.output, own.input if own.cache_write is None else own.cache_write)
    spec = specs().get(provider)
    if spec is not None and spec.free:
        return lambda usage: 0.0
    if spec is None or not spec.price_id:
        return None
    from genai_prices import calc_price  # 0.2 s, so only where money is spent
    from genai_prices.types import ModelPrice
    from genai_prices.types import Usage as Counts

    def ask(usage: Usage) -> Any:
        counts = Counts(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
            cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens - usage.cached_tokens),
        )
        return calc_price(counts, model, provider_id=spec.price_id, genai_request_timestamp=_now())

    try:
        found = ask(Usage(input_tokens=1, output_tokens=1))
    except LookupError:
        return None
    price = found.model_price
    rates = (price.input_mtok, price.cache_read_mtok, price.output_mtok, price.cache_write_mtok)
    plain = isinstance(found.model.prices, ModelPrice) and not getattr(price, "requests_kcount", None)
    # Prices that change with the date or in tiers are asked for each time; most are one number per token.
    if not plain or any(type(rate).__name__ == "TieredPrices" for rate in rates):
        return lambda usage: float(ask(usage).total_price)
    each = [float(rate) if rate is not None else 0.0 for rate in rates]
    return _flat(
        each[0],
        each[1] if rates[1] is not None else each[0],
        each[2],
        each[3] if rates[3] is not None else each[0],
    )


def _flat(asked: float, cached: float, said: float, written: float) -> _Cost:
    """One price for each kind of token, in US dollars for a million."""
    per_input, per_cached = asked / _MILLION, cached / _MILLION
    per_output, per_written = said / _MILLION, written / _MILLION

    def flat(usage: Usage) -> float:
        cached = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        fresh = usage.input_tokens - cached - written
        # Reasoning is billed as output, and counted in it.
        return (
            fresh * per_input + cached * per_cached + written * per_written + usage.output_tokens * per_output
        )

    return flat
