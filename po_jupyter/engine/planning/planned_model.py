"""A model that an estimate counts with: the tokens of its answers, and what its calls cost."""

from __future__ import annotations

from typing import NamedTuple

from po_jupyter.config import Settings
from po_jupyter.engine.base.answer_bounds import default_answer_bound
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatRequest, ServiceTier
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.pipeline.pipeline import LLM
from po_jupyter.model.run.usage import Usage


class PlannedModel(NamedTuple):
    """A model of a task. `most_tokens` are those of an answer at most, with thoughts; `max_tokens` without."""

    model: str
    max_tokens: int
    most_tokens: int
    tier: ServiceTier | None = None

    def cost(self, usage: Usage, prices: PriceBook, *, worst: bool = False) -> float | None:
        """US dollars of one call, None without a price; `worst`: at the dearest service tier it may be served on."""
        if worst:
            return prices.worst_cost(usage, self.model, requested=self.tier)
        return prices.cost_of(usage, self.model, tier=self.tier or "")


def planned_model(llm: LLM, model: str | None, settings: Settings) -> PlannedModel:
    """The model that settings come to; `model` is that of the run, where it has one."""
    ref = model or llm.model or settings.default_model
    max_tokens = llm.max_tokens or default_answer_bound(ref, settings)
    bounds = ChatRequest(
        ref, (), max_tokens=max_tokens, effort=llm.effort, max_thinking_tokens=llm.max_thinking_tokens
    )
    return PlannedModel(ref, max_tokens, output_limit(bounds) or max_tokens, llm.service_tier)
