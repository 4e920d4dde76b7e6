"""Usage of one call, from the counts of vendors: tokens of the cache are input, tokens of thoughts are output.

A count is not believed blindly: some servers send `{}`, zeros, or numbers as text. `checked_usage` puts an estimate in
the place of a zero for something that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.money.tokens import VOXTRAL_RATE, audio_tokens, estimate, estimate_request
from po_jupyter.llm.wire.json_fields import as_cost, as_count, mapping_at, mappings_in
from po_jupyter.model.run.usage import Usage

_MOST = 10**12  # tokens: a larger count is no count
_TICKS = 10**10  # of xAI's in a US dollar


def usage_from(
    input: int,
    output: int,
    *,
    cached: int = 0,
    written: int = 0,
    reasoning: int = 0,
    cost: float | None = None,
    audio: int = 0,
) -> Usage:
    """The usage of one call. (pydantic's own check of it is faster than `model_construct`, which skips it.)

    `input` holds the `cached` tokens (read from the cache) and the `written` ones (put into it), `output` the
    `reasoning` ones. `cost` is in US dollars, where the provider says it. `input` holds the `audio` ones too.
    """
    return Usage(
        input_tokens=input,
        output_tokens=output,
        cached_tokens=cached,
        cost=cost,
        calls=1,
        unknown=0,
        reasoning_tokens=reasoning,
        cache_write_tokens=written,
        audio_tokens=min(audio, input),
    )


def token_count(value: object) -> int:
    """A number of tokens as servers send it, as a number or as its text; 0 for anything else."""
    tokens = as_count(_number(value))
    return tokens if tokens <= _MOST else 0


def reported_cost(value: object) -> float | None:
    """A cost in US dollars as servers send it, as a number or as its text; None for anything else."""
    return as_cost(_number(value))


def _number(value: object) -> object:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value


def anthropic_usage(counts: Mapping[str, object]) -> Usage:
    """Usage from the `usage` of Messages and of Claude Code, whose `input_tokens` leaves out the cache."""
    read = token_count(counts.get("cache_read_input_tokens"))
    written = token_count(counts.get("cache_creation_input_tokens"))
    return usage_from(
        token_count(counts.get("input_tokens")) + read + written,
        token_count(counts.get("output_tokens")),
        cached=read,
        written=written,
        reasoning=token_count(mapping_at(counts, "output_tokens_details").get("thinking_tokens")),
    )


def chat_usage(counts: Mapping[str, object], *, says_cost: bool = False) -> Usage:
    """Usage from the `usage` of Chat Completions. Cached tokens by the names that servers use; `says_cost`: it has the
    cost of the call."""
    details = mapping_at(counts, "prompt_tokens_details")
    cached = (
        details.get("cached_tokens") or counts.get("prompt_cache_hit_tokens") or counts.get("cached_tokens")
    )
    input, output = token_count(counts.get("prompt_tokens")), token_count(counts.get("completion_tokens"))
    reasoning = token_count(mapping_at(counts, "completion_tokens_details").get("reasoning_tokens"))
    # xAI counts them "separately from completion_tokens, but ... in the total_tokens" (docs.x.ai, "Consumption and Rate
    # Limits"), and so does Gemini's API of OpenAI's kind; elsewhere they are a part of the completion. The total tells.
    if reasoning and token_count(counts.get("total_tokens")) == input + output + reasoning:
        output += reasoning
    return usage_from(
        input,
        output,
        cached=token_count(cached),
        written=token_count(details.get("cache_write_tokens")),
        reasoning=reasoning,
        cost=_cost_in(counts) if says_cost else None,
        audio=token_count(details.get("audio_tokens")) or _heard(counts.get("prompt_audio_seconds")),
    )


def _cost_in(counts: Mapping[str, object]) -> float | None:
    """The cost of a call in US dollars, as OpenRouter ("Usage Accounting", openrouter.ai/docs), xAI ("Cost Tracking",
    docs.x.ai) and Perplexity (docs.perplexity.ai, "Cost") say it."""
    ticks = reported_cost(counts.get("cost_in_usd_ticks"))
    if ticks is not None:
        return ticks / _TICKS
    cost = counts.get("cost")
    total = reported_cost(cost.get("total_cost") if isinstance(cost, Mapping) else cost)
    if total is not None and counts.get("is_byok") is True:
        # With a key of one's own `cost` is OpenRouter's fee alone; the vendor behind it sends a bill too.
        upstream = reported_cost(mapping_at(counts, "cost_details").get("upstream_inference_cost"))
        return None if upstream is None else total + upstream
    return total


def _heard(seconds: object) -> int:
    """The tokens of sound that Mistral counts in seconds."""
    return ceil(token_count(seconds) * VOXTRAL_RATE)


def responses_usage(counts: Mapping[str, object]) -> Usage:
    """Usage from the `usage` of Responses."""
    details = mapping_at(counts, "input_tokens_details")
    return usage_from(
        token_count(counts.get("input_tokens")),
        token_count(counts.get("output_tokens")),
        cached=token_count(details.get("cached_tokens")),
        written=token_count(details.get("cache_write_tokens")),
        reasoning=token_count(mapping_at(counts, "output_tokens_details").get("reasoning_tokens")),
    )


def gemini_usage(counts: Mapping[str, object]) -> Usage:
    """Usage from Gemini's `usageMetadata`: tokens of tools' results are input, thoughts are output."""
    thoughts = token_count(counts.get("thoughtsTokenCount"))
    return usage_from(
        token_count(counts.get("promptTokenCount")) + token_count(counts.get("toolUsePromptTokenCount")),
        token_count(counts.get("candidatesTokenCount")) + thoughts,
        cached=token_count(counts.get("cachedContentTokenCount")),
        reasoning=thoughts,
        audio=sum(
            token_count(part.get("tokenCount"))
            for part in mappings_in(counts.get("promptTokensDetails"))
            if part.get("modality") == "AUDIO"
        ),
    )


def converse_usage(counts: Mapping[str, object]) -> Usage:
    """Usage from the `usage` of Converse, whose `inputTokens` leaves out the cache; `totalTokens` has all."""
    read = token_count(counts.get("cacheReadInputTokens"))
    written = token_count(counts.get("cacheWriteInputTokens"))
    return usage_from(
        token_count(counts.get("inputTokens")) + read + written,
        token_count(counts.get("outputTokens")),
        cached=read,
        written=written,
    )


class CheckedUsage(NamedTuple):
    """A usage that can be counted with; `estimated`: part of it is a guess, because the server's count was none."""

    usage: Usage
    estimated: bool


def checked_usage(usage: Usage | None, request: ChatRequest, text: str, *, whole: bool = True) -> CheckedUsage:
    """The usage of an answer, with estimates for what was not counted. `text` holds its tool calls too.

    Zero tokens for a question, a sound or an answer that is there are not believed, and then neither is a cost of 0.
    Not `whole`: the answer broke off, so that a count of its output is that of a part.
    """
    if usage is not None and usage.cached_calls:
        return CheckedUsage(usage, False)
    counted = usage if usage is not None else usage_from(0, 0)
    input, output = counted.input_tokens, counted.output_tokens
    if not input and any(message.content or message.images or message.files for message in request.messages):
        input = estimate_request(request)
    if (not output or not whole) and not request.embed:  # a vector has no tokens
        output = max(output, counted.reasoning_tokens + estimate(text))
    heard = counted.audio_tokens or min(input, audio_tokens(request))
    if (input, output, heard) == (counted.input_tokens, counted.output_tokens, counted.audio_tokens):
        return CheckedUsage(counted, usage is None)
    return CheckedUsage(
        counted.model_copy(
            update={
                "input_tokens": input,
                "output_tokens": output,
                "audio_tokens": heard,
                "calls": max(1, counted.calls),
                "cost": counted.cost or None,
            }
        ),
        True,
    )


def with_checked_usage(response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """The response, with estimates for what its provider did not count."""
    calls = [json.dumps(call.to_json(), ensure_ascii=False, default=str) for call in response.tool_calls]
    usage, estimated = checked_usage(response.usage, request, "".join((response.text, *calls)))
    return replace(response, usage=usage, estimated=True) if estimated else response
