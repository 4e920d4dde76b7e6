"""Service tiers: slower for less, or sooner for more. One vocabulary for all vendors, and what a tier does to a price.

    asked for      OpenAI      Anthropic        Gemini      Bedrock
    flex           flex        (has none)       flex        flex
    standard       default     standard_only    standard    default
    priority       priority    auto             priority    priority

The tier that an answer names is the one that is billed; a vendor without room on a tier serves on its standard one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from po_jupyter.llm.specs import spec_of, specs

if TYPE_CHECKING:
    from po_jupyter.llm.chat import ChatRequest

_STANDARD = "standard"
_IN_ANSWERS: Mapping[str, str] = {
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # OpenAI's other word for it
    "default": _STANDARD,
    "standard": _STANDARD,
}
# The part of the standard price that a tier costs, where the price list (`genai-prices`) has none for a model.
# OpenAI: flex at the rates of batches (developers.openai.com/api/docs/guides/flex-processing); priority costs 1.67 to
# 2.5 times as much in the list, by model: the dearest. Gemini: flex half, priority 1.8 times
# (ai.google.dev/gemini-api/docs/pricing, as the list notes it). Anthropic: priority draws on capacity that was
# committed to before, and is counted at the list's price (platform.claude.com/docs/en/api/service-tiers). Bedrock: flex
# half; the premium of priority is published by model and region only, most are 75 % (aws.amazon.com/bedrock/pricing).
# Read 2026-11.
_RATES: Mapping[str, Mapping[str, float]] = {
    "openai": {"flex": 0.5, "priority": 2.5},
    "gemini": {"flex": 0.5, "priority": 1.8},
    "bedrock": {"flex": 0.5, "priority": 1.75},
}
# What a call in a batch is priced as: a tier that nobody asks for by name.
BATCH = "batch"
# The price of a call in a batch, as a fraction of the list price, where the list has none for batches. OpenAI: "50%
# cost discount compared to synchronous APIs" (developers.openai.com/api/docs/guides/batch); Anthropic: "charged at 50%
# of the standard API prices" (platform.claude.com/docs/en/build-with-claude/batch-processing); Gemini: "50% of the
# standard cost" (ai.google.dev/gemini-api/docs/batch-api); Mistral: half the price (docs.mistral.ai, Batch). Read
# 2026-11.
BATCH_PRICE = 0.5


def tier_in_answer(name: object) -> str:
    """The tier that an answer names: `flex`, `standard` or `priority`; "" for any other word, and for none."""
    return _IN_ANSWERS.get(name.lower(), "") if isinstance(name, str) else ""


def rate_of(ref: str, tier: str) -> float:
    """The part of the standard price that a tier of a model costs, where no list says it."""
    if tier == BATCH:
        return BATCH_PRICE
    return _RATES.get(ref.partition(":")[0], {}).get(tier, 1.0)


def dearest_tier(requested: str | None) -> str:
    """The dearest tier that a call may be billed at: flex may be served as standard, and priority too."""
    return "priority" if requested == "priority" else ""


def wire_tier(request: ChatRequest, names: Mapping[str, str]) -> str | None:
    """The tier of a request by the vendor's name for it; None where nothing is sent."""
    if request.service_tier is None:
        return None
    spec = specs().get(request.provider)
    return names.get(request.service_tier) if spec is not None and spec.service_tiers else None


def tier_problem(ref: str, tier: str | None) -> str | None:
    """The reason why a model cannot be asked on a tier, in one line; None when it can, or its provider is unknown.
    The standard tier is everybody's."""
    if tier is None or tier == _STANDARD:
        return None
    name = ref.partition(":")[0]
    spec = spec_of(name)  # of a plugin only its package says
    if spec is None or tier in spec.service_tiers:
        return None
    has = f"has {', '.join(('standard', *spec.service_tiers))} only" if spec.service_tiers else "has none here"
    able = ", ".join(sorted(s.name for s in specs().values() if tier in s.service_tiers and s.name != "fake"))
    return f"`service_tier: {tier}` needs a provider that takes it ({able}), and {name} {has}"
