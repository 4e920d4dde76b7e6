"""What a run has used over time, by task and by model, from its journal and its rows."""

from __future__ import annotations

from typing import TypedDict

from po_jupyter.engine.replay.spent_from_log import usage_of_end
from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.store.protocol import Record

MOST_POINTS = 500
_UNNAMED = "unknown"


class Amounts(TypedDict):
    """Dollars, as far as prices are known, tokens and calls. `cached` were answered by the cache and are in no other
    number; `unpriced`: calls whose price is not known."""

    cost_usd: float
    tokens: int
    calls: int
    cached: int
    unpriced: int


class Spending:
    """Sums, and a curve of `(time, dollars so far, tokens so far)`; fed with the records of a run in order.

    Of a long run the curve keeps every second, fourth, ... point: at most `MOST_POINTS`, the newest always.
    """

    def __init__(self) -> None:
        """Nothing used."""
        self.by_task: dict[str, Amounts] = {}
        self.by_model: dict[str, Amounts] = {}
        self.total = _nothing()
        self._points: list[tuple[str, float, int]] = []
        self._newest: tuple[str, float, int] | None = None
        self._step, self._skipped = 1, 0
        self._models: dict[str, str] = {}  # of calls that were about to be sent, by key

    @property
    def points(self) -> list[tuple[str, float, int]]:
        """The curve."""
        if self._newest is None or (self._points and self._points[-1] == self._newest):
            return list(self._points)
        return [*self._points, self._newest]

    def apply(self, record: Record) -> None:
        """Count the calls of one record that ended in it."""
        changed = False
        for call in record["calls"]:
            if call["kind"] == "intent":
                self._models[call["key"]] = call["model"]
                continue
            sent_to = self._models.pop(call["key"], None)
            usage = usage_of_end(call)
            if not usage:
                continue
            model = (call.get("model") if call["kind"] == "response" else None) or sent_to or _UNNAMED
            cost = usage.get("cost")
            tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
            task = CallKey.parse(call["key"]).task
            for sums in (
                self.total, self.by_task.setdefault(task, _nothing()), self.by_model.setdefault(model, _nothing()),
            ):  # fmt: skip
                sums["cost_usd"] += cost or 0.0
                sums["tokens"] += tokens
                sums["calls"] += usage.get("calls", 0)
                sums["cached"] += usage.get("cached_calls", 0)
                sums["unpriced"] += cost is None
            changed = True
        if changed:
            self._add_point((record["at"], round(self.total["cost_usd"], 9), self.total["tokens"]))

    def _add_point(self, point: tuple[str, float, int]) -> None:
        self._newest = point
        self._skipped += 1
        if self._skipped < self._step:
            return
        self._skipped = 0
        self._points.append(point)
        if len(self._points) >= MOST_POINTS:
            self._points = self._points[::2]
            self._step *= 2


def _nothing() -> Amounts:
    return {"cost_usd": 0.0, "tokens": 0, "calls": 0, "cached": 0, "unpriced": 0}
