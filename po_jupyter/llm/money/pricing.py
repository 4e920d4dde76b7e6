"""Prices of models and the cost of calls, in US dollars; the list is that of `genai-prices` (no network call).

Unknown stays unknown: a model without a price gives a cost of None, never 0. Local and fake models cost 0.
The setting `prices` weighs more than the list, and has models that are in no list; where the gateway of a hub is asked,
the team's prices weigh more than both (`team_prices`). Only what a provider itself
reports of a call's cost weighs more still. The list holds at a vendor's own addresses: `openai:` behind another base
URL is another vendor, or a proxy, with prices that nobody knows.

On a service tier, and in a batch, a call costs what the list says for it, else a part of the standard price; prices of
the setting are those of the standard tier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypedDict

import structlog

from po_jupyter.config import Price
from po_jupyter.llm.money.service_tiers import BATCH, dearest_tier, rate_of
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.llm.specs import is_elsewhere, specs
from po_jupyter.model.run.usage import Usage

log = structlog.get_logger(__name__)

_MILLION = 1_000_000
_ONE_PRICE = frozenset({"gemini", "vertex"})
_CostFunction: TypeAlias = Callable[[Usage], float | None]


class TokenPrices(TypedDict):
    """US dollars for a million tokens."""

    input: float
    output: float


class PriceBook:
    """The prices of models: the team's where its gateway is asked, those of the setting `prices`, the list's. Cheap to
    make."""

    __slots__ = ("_base_url", "_hub_url", "_own", "_team")

    def __init__(
        self,
        own: Mapping[str, Price] | None = None,
        *,
        base_url: Callable[[str], str | None] = lambda ref: None,
        hub_url: str | None = None,
        team: TeamPrices | None = None,
    ) -> None:
        """`own` is the setting `prices`, by model ref; `base_url(ref)` where a model is asked (None: there
        is no one address, or it is not known); behind the gateway `hub_url` is the vendor itself. `team` has what that
        gateway says of prices, and may learn more later."""
        self._team = team
        self._hub_url = hub_url
        self._base_url = base_url
        self._own = {ref: _of_setting(price) for ref, price in (own or {}).items()}

    def cost_of(self, usage: Usage, ref: str, *, tier: str = "") -> float | None:
        """US dollars for `usage` of the model `ref` on a service tier, or None when its price is unknown."""
        cost = self._cost_function(ref, tier)
        return None if cost is None else cost(usage)

    def worst_cost(self, usage: Usage, ref: str, *, requested: str | None) -> float | None:
        """The most that `usage` may cost when this service tier is asked for: it may be served on another one."""
        costs = {self.cost_of(usage, ref), self.cost_of(usage, ref, tier=dearest_tier(requested))}
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None

    def priced(self, usage: Usage, ref: str, answered_by: str = "", *, tier: str = "") -> Usage:
        """`usage` with its cost, unless it has one already (a provider that bills by itself reports it).

        `ref` is the model ref of the request, `answered_by` the model that the provider names in its answer; it
        is tried when the first has no price. `tier` is the service tier that the answer names, or `BATCH`.

        Raises nothing: it is called when an answer is there and not yet recorded, and a price that cannot be found
        is unknown.
        """
        try:
            return self._priced(usage, ref, answered_by, tier)
        except Exception as error:
            log.warning("a call has no price", model=ref, error=f"{type(error).__name__}: {error}"[:200])
            return usage

    def _priced(self, usage: Usage, ref: str, answered_by: str, tier: str) -> Usage:
        if usage.cost is not None:
            return usage
        cost = self.cost_of(usage, ref, tier=tier)
        if cost is None and answered_by:
            cost = self.cost_of(usage, f"{ref.partition(':')[0]}:{answered_by}", tier=tier)
        return usage if cost is None else Usage(**{**usage.__dict__, "cost": cost})

    def is_priced(self, ref: str) -> bool:
        """True when the price of a model is known: a budget in dollars needs it. Loads the list, where it is needed."""
        return self._cost_function(ref) is not None

    def lacks_price(self, ref: str) -> bool:
        """True when the price of a model is unknown, and no gateway that has yet to answer may know it."""
        return not self.is_priced(ref) and not self.is_pending(ref)

    def is_pending(self, ref: str) -> bool:
        """True when a gateway has yet to say the price of a model."""
        return self._team is not None and self._team.is_pending(ref)

    def per_million(self, ref: str) -> TokenPrices | None:
        """The prices of a million tokens of small calls; None: unknown."""
        cost = self._cost_function(ref)
        if cost is None:
            return None

        def thousand(once: Usage, twice: Usage) -> float:  # without what a call itself costs
            return (cost(twice) or 0.0) - (cost(once) or 0.0)

        input = thousand(Usage(input_tokens=1000), Usage(input_tokens=2000))
        output = thousand(Usage(output_tokens=1000), Usage(output_tokens=2000))
        return {"input": round(input * 1000, 6), "output": round(output * 1000, 6)}

    def _cost_function(self, ref: str, tier: str = "") -> _CostFunction | None:
        tier = "" if tier == "standard" else tier
        team = self._team.find(ref) if self._team is not None else None
        if isinstance(team, Price):
            return _at(_of_setting(team), rate_of(ref, tier))
        if team == "list":
            return _listed(ref, tier)
        if (own := self._own.get(ref)) is not None:
            return _at(own, rate_of(ref, tier))
        return None if team == "unknown" or self.is_elsewhere(ref) else _listed(ref, tier)

    def is_elsewhere(self, ref: str) -> bool:
        """True when a model is asked at an address whose prices are not those of the list."""
        url = self._base_url(ref) or ""
        if self._hub_url is not None and url.startswith(f"{self._hub_url}/"):
            return False
        return is_elsewhere(ref.partition(":")[0], url)


LIST_PRICES = PriceBook()
"""The list alone."""


def _of_setting(price: Price) -> _CostFunction:
    cached = price.input if price.cached is None else price.cached
    cache_write = price.input if price.cache_write is None else price.cache_write
    return _flat(
        price.input, cached, price.output, cache_write, price.input if price.audio is None else price.audio
    )


def _now() -> datetime:
    """Some prices depend on the hour."""
    return datetime.now(UTC)


def _at(cost: _CostFunction, rate: float) -> _CostFunction:
    """That part of a price."""
    return cost if rate == 1.0 else lambda usage: None if (full := cost(usage)) is None else full * rate


@lru_cache(maxsize=1024)
def _listed(ref: str, tier: str = "") -> _CostFunction | None:
    """The list's price of a model, on a service tier. Where it is one flat price, the list is asked only once."""
    provider, _, model = ref.partition(":")
    spec = specs().get(provider)
    if spec is not None and spec.free:
        return lambda usage: 0.0
    if spec is None or not spec.price_id:
        return None
    from genai_prices import calc_price  # 0.2 s, so only where money is spent
    from genai_prices.types import ModelPrice
    from genai_prices.types import Usage as Counts

    price_id, name = spec.price_id, model
    if provider == "huggingface":  # the router: the price is that of the server behind it, if the ref names it
        name, _, server = model.rpartition(":")
        price_id = f"huggingface_{server}"

    context = {"processing" if tier == BATCH else "service_tier": tier} if tier else None

    def calculated(usage: Usage) -> Any:
        counts = Counts(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
            cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens - usage.cached_tokens),
            input_audio_tokens=min(usage.audio_tokens, usage.input_tokens - usage.cached_tokens),
        )
        return calc_price(
            counts, name, provider_id=price_id, genai_request_timestamp=_now(),
            price_context=context,
        )  # fmt: skip

    try:
        sample = calculated(Usage(input_tokens=1, output_tokens=1))
    except LookupError:
        return None
    variants = [v for v in sample.model.price_variants or () if v.when == context] if tier else []
    if tier and not variants:
        standard = _listed(ref)
        return None if standard is None else _at(standard, rate_of(ref, tier))
    # Prices that change with the date or in tiers are asked for each time; most are one number per token.
    is_plain = isinstance(sample.model.prices, ModelPrice) and all(v.constraint is None for v in variants)
    cost = _by_token(sample.model_price) if is_plain else None
    cost = cost or (lambda usage: float(calculated(usage).total_price))
    # Google bills sound as text where it names no other price ("Gemini Developer API pricing"); for others that is no
    # price of sound at all: OpenRouter's list has none, and Mistral's is by the hour.
    if provider in _ONE_PRICE or getattr(sample.model_price, "input_audio_mtok", None) is not None:
        return cost
    return lambda usage: None if usage.audio_tokens else cost(usage)


def _by_token(price: Any) -> _CostFunction | None:
    """A price of the list that is one number for each kind of token; None for another one."""
    kinds = ("input_mtok", "cache_read_mtok", "output_mtok", "cache_write_mtok", "input_audio_mtok")
    rates = [getattr(price, kind, None) for kind in kinds]
    if getattr(price, "requests_kcount", None) or any(type(rate).__name__ == "TieredPrices" for rate in rates):
        return None
    input, cached, output, written, audio = (None if rate is None else float(rate) for rate in rates)
    input = input or 0.0
    known = [input if rate is None else rate for rate in (cached, written, audio)]
    return _flat(input, known[0], output or 0.0, known[1], known[2])


def _flat(input: float, cached: float, output: float, cache_write: float, audio: float) -> _CostFunction:
    """One price for each kind of token, in US dollars for a million."""
    per_input, per_cached = input / _MILLION, cached / _MILLION
    per_output, per_written, per_audio = output / _MILLION, cache_write / _MILLION, audio / _MILLION

    def flat(usage: Usage) -> float:
        cached = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        fresh = usage.input_tokens - cached - written
        heard = min(usage.audio_tokens, fresh)
        # Reasoning is billed as output, and counted in it.
        return (
            (fresh - heard) * per_input
            + heard * per_audio
            + cached * per_cached
            + written * per_written
            + usage.output_tokens * per_output
        )

    return flat
