"""Usage of one call, from the counts of vendors: tokens of the cache are input, tokens of thoughts are output."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.llm.wire.json_fields import as_count, mapping_at
from po_jupyter.model.run.usage import Usage


def usage_from(
    input: int, output: int, *, cached: int = 0, written: int = 0, reasoning: int = 0, cost: float | None = None
) -> Usage:
    """The usage of one call, built without validation: it is done for every call.

    `input` holds the `cached` tokens (read from the cache) and the `written` ones (put into it), `output` the
    `reasoning` ones. `cost` is in US dollars, where the provider says it.
    """
    return Usage.model_construct(
        input_tokens=input,
        output_tokens=output,
        cached_tokens=cached,
        cost=cost,
        calls=1,
        unknown=0,
        reasoning_tokens=reasoning,
        cache_write_tokens=written,
    )


def anthropic_usage(counts: Mapping[str, object]) -> Usage:
    """Usage from the `usage` of Messages and of Claude Code, whose `input_tokens` leaves out the cache."""
    read = as_count(counts.get("cache_read_input_tokens"))
    written = as_count(counts.get("cache_creation_input_tokens"))
    return usage_from(
        as_count(counts.get("input_tokens")) + read + written,
        as_count(counts.get("output_tokens")),
        cached=read,
        written=written,
        reasoning=as_count(mapping_at(counts, "output_tokens_details").get("thinking_tokens")),
    )
