"""What the calls of one task cost: at least, at most, and those of the sample of a cascade that learns."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from po_jupyter.engine.planning.planned_model import PlannedModel
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.service_tiers import BATCH
from po_jupyter.model.pipeline.llm_settings import CascadeStep
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject

_REASK = 100  # tokens of a re-ask, beside the answer that it is about


class WorstCase(NamedTuple):
    """Calls, tokens of the first answers, and dollars at most; None where there is no price."""

    calls: int
    answers: int
    usd: float | None


class CallsCost:
    """The cost of calls of one task. `heard` is the part of the prompts' tokens that is sound."""

    def __init__(self, task: Task, prices: PriceBook) -> None:
        """By these prices."""
        self._task, self._prices = task, prices
        self.heard = 0.0

    def usd(
        self, model: PlannedModel, input_tokens: int, output_tokens: int, calls: int, *, worst: bool = False
    ) -> float | None:
        """What so many calls cost, None without a price."""
        # Per call, since some prices have tiers by the size of a call.
        if not calls:
            return 0.0
        input = -(-input_tokens // calls)
        usage = Usage(
            input_tokens=input,
            output_tokens=-(-output_tokens // calls),
            audio_tokens=min(input, ceil(input * self.heard)),
        )
        if self._task.mode == "batch":
            cost = self._prices.cost_of(usage, model.model, tier=BATCH)
        else:
            cost = model.cost(usage, self._prices, worst=worst)
        return None if cost is None else cost * calls

    def most(self, model: PlannedModel, calls: int, prompt_tokens: int) -> WorstCase:
        """What so many answers of a model come to at most, with every re-ask."""
        refine = self._task.refine
        again = refine.max_attempts if self._task.output is not None else 0
        answers = calls * model.most_tokens
        # Each re-ask carries the conversation so far: the prompt, every answer, and what was wrong with it.
        input_tokens = sum(prompt_tokens + n * (answers + calls * _REASK) for n in range(again + 1))
        output_tokens = answers * (again + 1)
        critiques = calls * again if refine.critique is not None else 0
        input_tokens += critiques * (model.max_tokens + _REASK)
        output_tokens += critiques * model.most_tokens
        usd = self.usd(model, input_tokens, output_tokens, calls, worst=True)
        return WorstCase(calls * (again + 1) + critiques, answers, usd)

    def add_sample(
        self, estimated: JsonObject, step: CascadeStep, model: PlannedModel, answer_tokens: int | None
    ) -> None:
        """Add to what is expected of the first calls of a map those of `model`, the second one, for the rows of its
        sample. What it comes to at most has them already: there `model` answers every row.

        `answer_tokens` are those of an answer, None where nobody can tell.
        """
        rows: int = estimated["rows"]
        sampled = min(step.sampled, rows)
        calls, tokens = (-(-estimated[name] * sampled // rows) for name in ("calls", "input_tokens"))
        first: float | None = estimated["cost"]["expected"]
        second = None if answer_tokens is None else self.usd(model, tokens, calls * answer_tokens, calls)
        estimated["calls"] += calls
        estimated["input_tokens"] += tokens
        estimated["cost"]["expected"] = None if first is None or second is None else first + second
