"""A running sum of usage, for places that add thousands a second."""

from __future__ import annotations

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject


class UsageSum:
    """A sum of usages that can be added to; `take()` returns it and starts over."""

    __slots__ = (
        "audio_tokens",
        "cache_write_tokens",
        "cached_calls",
        "cached_tokens",
        "calls",
        "cost",
        "input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "unknown",
    )

    def __init__(self) -> None:
        """A sum of nothing."""
        self._clear()

    def _clear(self) -> None:
        self.input_tokens = self.output_tokens = self.cached_tokens = self.calls = self.unknown = 0
        self.reasoning_tokens = self.cache_write_tokens = self.cached_calls = self.audio_tokens = 0
        self.cost: float | None = 0.0

    def add(self, usage: Usage) -> None:
        """Add a usage."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        self.calls += usage.calls
        self.unknown += usage.unknown
        self.reasoning_tokens += usage.reasoning_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.cached_calls += usage.cached_calls
        self.audio_tokens += usage.audio_tokens
        self.cost = None if self.cost is None or usage.cost is None else self.cost + usage.cost

    def add_json(self, usage: JsonObject, sign: int = 1) -> None:
        """Add a usage that is JSON, or with sign -1 subtract it."""
        get = usage.get
        self.input_tokens += sign * get("input_tokens", 0)
        self.output_tokens += sign * get("output_tokens", 0)
        self.cached_tokens += sign * get("cached_tokens", 0)
        self.calls += sign * get("calls", 0)
        self.unknown += sign * get("unknown", 0)
        self.reasoning_tokens += sign * get("reasoning_tokens", 0)
        self.cache_write_tokens += sign * get("cache_write_tokens", 0)
        self.cached_calls += sign * get("cached_calls", 0)
        self.audio_tokens += sign * get("audio_tokens", 0)
        cost = get("cost", 0.0)
        self.cost = None if self.cost is None or cost is None else self.cost + sign * cost

    def __bool__(self) -> bool:
        """Whether anything was used."""
        used = self.input_tokens or self.output_tokens or self.cost
        return bool(self.calls or self.unknown or self.cached_calls or used)

    def to_json(self) -> JsonObject:
        """The sum in the shape of `Usage.to_json`."""
        body: JsonObject = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "cost": self.cost,
            "calls": self.calls,
            "unknown": self.unknown,
            "reasoning_tokens": self.reasoning_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "cached_calls": self.cached_calls,
        }
        if self.audio_tokens:
            body["audio_tokens"] = self.audio_tokens
        return body

    def pop(self) -> JsonObject:
        """The sum as JSON; then start over."""
        result = self.to_json()
        self._clear()
        return result
