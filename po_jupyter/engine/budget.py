"""Hard limits of a run (G1): the worst case of a call is set aside before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from po_jupyter.errors import BudgetExceeded
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.pricing import cost_of
from po_jupyter.llm.tokens import estimate_messages
from po_jupyter.model.usage import Usage

# The count before a call is an estimate; a tenth more keeps the bound hard for ordinary text.
_MARGIN = 1.1


class Budget:
    """What a run may use and has used. Dollars are USD; tokens are input and output together.

    When the worst case of a call does not fit but others are in flight, it waits for them: reservations are
    larger than what calls use, so this narrows a run before it stops it.
    """

    def __init__(self, limits: Mapping[str, Any], used: Usage) -> None:
        self.usd: float | None = limits.get("usd")
        self.tokens: int | None = limits.get("tokens")
        self._usd = used.cost or 0.0
        self._tokens = used.input_tokens + used.output_tokens
        self._held: dict[int, tuple[float, int]] = {}
        self._held_usd = 0.0
        self._held_tokens = 0
        self._next = 0
        self._freed = asyncio.Event()

    async def reserve(self, request: ChatRequest) -> int:
        """Set the worst case of `request` aside; the number to `settle` with. Raises BudgetExceeded."""
        usd, tokens = self._worst(request)
        while not self._fits(usd, tokens):
            if not self._held:
                raise self._exceeded(usd, tokens)
            self._freed.clear()
            await self._freed.wait()
        self._next += 1
        self._held[self._next] = (usd, tokens)
        self._held_usd += usd
        self._held_tokens += tokens
        return self._next

    def settle(self, number: int, used: Usage | None) -> None:
        """The call is over and used this (None: nobody knows, so its worst case stays counted)."""
        usd, tokens = self._held.pop(number)
        self._held_usd -= usd
        self._held_tokens -= tokens
        if not self._held:
            self._held_usd = 0.0  # no drift of floats over a long run
        if used is None:
            self._usd += usd
            self._tokens += tokens
        else:
            self.count(used)
        self._freed.set()

    def count(self, used: Usage) -> None:
        """Add what a call used."""
        self._usd += used.cost or 0.0
        self._tokens += used.input_tokens + used.output_tokens

    def _worst(self, request: ChatRequest) -> tuple[float, int]:
        given = int(estimate_messages(m.content for m in request.messages) * _MARGIN)
        answer = request.max_tokens or 0
        usd = 0.0
        if self.usd is not None:
            cost = cost_of(Usage(input_tokens=given, output_tokens=answer, calls=1), request.model)
            if cost is None:
                raise BudgetExceeded(
                    f"the price of {request.model} is unknown, so a budget in dollars cannot be kept",
                    hint="Use a budget in tokens, or a model with a known price.",
                )
            usd = cost
        return usd, given + answer

    def _fits(self, usd: float, tokens: int) -> bool:
        if self.usd is not None and self._usd + self._held_usd + usd > self.usd:
            return False
        return self.tokens is None or self._tokens + self._held_tokens + tokens <= self.tokens

    def _exceeded(self, usd: float, tokens: int) -> BudgetExceeded:
        if self.usd is not None and self._usd + usd > self.usd:
            message = (
                f"the budget of ${self.usd:.6g} is spent: ${self._usd:.6g} used, "
                f"and the next call could cost ${usd:.6g}"
            )
        else:
            message = (
                f"the budget of {self.tokens:,} tokens is spent: {self._tokens:,} used, "
                f"and the next call could take {tokens:,}"
            )
        return BudgetExceeded(
            message,
            hint="What is finished is kept. Resume with a larger budget: po resume RUN --budget N.",
            details={
                "used": {"usd": self._usd, "tokens": self._tokens},
                "budget": {"usd": self.usd, "tokens": self.tokens},
            },
        )
