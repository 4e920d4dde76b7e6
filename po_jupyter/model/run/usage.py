"""The usage of calls to models: tokens, calls and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from po_jupyter.model.values.json import JsonObject


class Usage(BaseModel):
    """Tokens (counts), cost (USD, or None when the price is unknown) and the number of calls.

    Adding two usages adds every field; a known and an unknown cost give an unknown one, because a
    sum that leaves a part out would read as the whole. `unknown` counts calls whose outcome was
    lost in a crash: the provider may have billed them.

    `cached_calls` were answered from the cache of an earlier run's answers; they are not in `calls` and used
    nothing.

    `input_tokens` holds those read from the provider's cache (`cached_tokens`) and those written to it
    (`cache_write_tokens`), and those of sound (`audio_tokens`), which have prices of their own; `output_tokens` holds
    `reasoning_tokens`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = 0.0
    calls: int = 0
    unknown: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cached_calls: int = 0
    audio_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """The sum of each field."""
        return self.plus(other.__dict__)

    def plus(self, other: Mapping[str, Any]) -> Usage:
        """The sum with a usage as JSON, in which a field may be missing. A log has thousands of them to add up."""
        get = other.get
        cost = get("cost", 0.0)
        fields = {
            "input_tokens": self.input_tokens + get("input_tokens", 0),
            "output_tokens": self.output_tokens + get("output_tokens", 0),
            "cached_tokens": self.cached_tokens + get("cached_tokens", 0),
            "cost": None if self.cost is None or cost is None else self.cost + cost,
            "calls": self.calls + get("calls", 0),
            "unknown": self.unknown + get("unknown", 0),
            "reasoning_tokens": self.reasoning_tokens + get("reasoning_tokens", 0),
            "cache_write_tokens": self.cache_write_tokens + get("cache_write_tokens", 0),
            "cached_calls": self.cached_calls + get("cached_calls", 0),
            "audio_tokens": self.audio_tokens + get("audio_tokens", 0),
        }
        try:
            return Usage(**fields)
        except ValidationError:  # half a token, as logs of before may have: a run is read all the same
            return Usage.model_construct(**fields)

    def to_json(self) -> JsonObject:
        """A plain dict, the shape that the store, HTTP and `run.frame()` show; `audio_tokens` where there are any."""
        body = dict(self.__dict__)
        if not body["audio_tokens"]:
            del body["audio_tokens"]
        return body


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of `usages`."""
    result = Usage()
    for usage in usages:
        result = result + usage
    return result
