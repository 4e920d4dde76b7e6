"""Meters: usage out of bodies and streams, in whatever pieces they come."""

from __future__ import annotations

import dataclasses
import json

import pytest

from po_jupyter.config import Price
from po_jupyter.hub.accounts.balances import Demand
from po_jupyter.hub.accounts.ledger import in_full
from po_jupyter.hub.wires.meters import Meter, Pricer
from po_jupyter.hub.wires.operations import Api
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.service_tiers import BATCH
from po_jupyter.llm.wire.usage import usage_from

PRICER = Pricer(PriceBook({"m:x": Price(input=1, output=10, cached=0.1, cache_write=1.25)}))
DEMAND = Demand("alice", (), "m:x", 1000, 500, PRICER.worst("m:x", 1000, 500))


def events(*values: object, end: bytes = b"") -> bytes:
    return b"".join(b"event: x\r\ndata: " + json.dumps(value).encode() + b"\r\n\r\n" for value in values) + end


STREAMS: dict[Api, bytes] = {
    "chat": events(
        {"model": "x", "choices": [{"delta": {"content": "ab"}}]},
        {"choices": [{"finish_reason": "stop", "delta": {}}]},
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
        },
        end=b"data: [DONE]\n\n",
    ),
    "responses": events(
        {"type": "response.output_text.delta", "delta": "ab"},
        {
            "type": "response.completed",
            "response": {
                "model": "x",
                "usage": {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 5}},
            },
        },
    ),
    "messages": events(
        {
            "type": "message_start",
            "message": {
                "model": "x",
                "usage": {"input_tokens": 2, "cache_read_input_tokens": 5, "output_tokens": 1},
            },
        },
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ab"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    ),
    "gemini": events(
        {"candidates": [{"content": {"parts": [{"text": "ab"}]}}], "usageMetadata": {"promptTokenCount": 7}},
        {
            "candidates": [{"finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 7,
                "candidatesTokenCount": 1,
                "thoughtsTokenCount": 2,
                "cachedContentTokenCount": 5,
            },
        },
    ),
}


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_in_any_pieces_has_the_same_usage(api: Api, size: int) -> None:
    meter, data = Meter(api), STREAMS[api]
    for begin in range(0, len(data), size):
        meter.feed(data[begin : begin + size])
    assert meter.ended and meter.usage is not None and meter.text == 2
    assert (meter.usage.input_tokens, meter.usage.output_tokens, meter.usage.cached_tokens) == (7, 3, 5)
    amounts = PRICER.settlement(DEMAND, meter)
    assert (amounts.tokens, amounts.nano, amounts.lost) == (10, 2 * 1000 + 5 * 100 + 3 * 10_000, 0)


@pytest.mark.parametrize("api", STREAMS)
def test_a_cut_stream_counts_what_was_seen(api: Api) -> None:
    meter = Meter(api)
    meter.feed(STREAMS[api].split(b"\r\n\r\n")[0] + b"\r\n\r\n")
    amounts = PRICER.settlement(DEMAND, meter)
    assert amounts.lost == 1 and 0 < amounts.nano < (DEMAND.nano or 0)
    assert amounts.input == (7 if api in ("messages", "gemini") else 1000)


def test_a_cut_stream_of_a_model_that_thinks_counts_in_full() -> None:
    thinker = Demand("alice", (), "openai:gpt-5", 1000, 500, 5)
    meter = Meter("chat")
    meter.feed(events({"choices": [{"delta": {"content": "ab"}}]}))
    assert PRICER.settlement(thinker, meter) == in_full(thinker)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"usage": 5}', b'{"error": {}}', b"{" * 10_000]
)
def test_an_answer_that_says_nothing_counts_in_full(body: bytes) -> None:
    meter = Meter("chat")
    meter.whole(body)
    assert PRICER.settlement(DEMAND, meter) == in_full(DEMAND)


def test_junk_in_a_stream_is_passed_over() -> None:
    meter = Meter("chat")
    meter.feed(b"data: {\ndata: [1]\n: comment\ndata:\nid: 5\n\xff\xfe\ndata: " + b"[" * 100_000 + b"\n")
    meter.feed(STREAMS["chat"])
    assert meter.usage is not None and meter.usage.input_tokens == 7


def test_the_worst_case_has_the_price_of_writing_the_cache() -> None:
    assert PRICER.worst("m:x", 1000, 500) == 1250 * 1000 + 500 * 10_000
    assert PRICER.worst("m:y", 1, 1) is None


def test_money_is_rounded_up_and_never_by_a_floats_error() -> None:
    cheap = Pricer(PriceBook({"m:x": Price(input=0.0001, output=0.3)}))
    assert cheap.amounts(usage_from(1, 0), "m:x").nano == 1
    assert cheap.amounts(usage_from(0, 3), "m:x").nano == 900
    assert PRICER.amounts(usage_from(0, 3), "m:x", tier=BATCH).nano == 15_000
    assert PRICER.amounts(usage_from(0, 3), "other:x").unpriced == 1


def test_a_vendor_that_says_what_it_cost_is_believed() -> None:
    meter = Meter("chat", says_cost=True)
    meter.read({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5}})
    assert PRICER.settlement(DEMAND, meter).nano == 500_000_000


def test_a_cut_stream_counts_in_full_where_the_request_asked_for_thoughts_or_what_answered_thinks() -> None:
    """Thoughts are shown as a summary, if at all, and billed whole."""
    meter = Meter("messages")
    meter.feed(STREAMS["messages"].split(b"\r\n\r\n")[0] + b"\r\n\r\n")
    asked = dataclasses.replace(DEMAND, thinks=True)
    assert PRICER.settlement(asked, meter) == in_full(asked)
    meter = Meter("chat")
    meter.feed(events({"model": "gpt-5", "choices": [{"delta": {"content": "ab"}}]}))
    deployed = Demand("alice", (), "azure:prod", 1000, 500, 5)
    assert PRICER.settlement(deployed, meter) == in_full(deployed)


SEEN: list[tuple[Api, object]] = [
    ("chat", {"choices": [{"delta": {"content": "1" * 300}}]}),
    ("chat", {"choices": [{"delta": {"function_call": {"name": "f", "arguments": "1" * 300}}}]}),
    ("chat", {"choices": [{"delta": {"refusal": "1" * 300}}]}),
    ("chat", {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "1" * 300}}]}}]}),
    ("chat", {"choices": [{"delta": {"content": [{"type": "text", "text": "1" * 300}]}}]}),
    ("responses", {"type": "response.output_text.delta", "delta": "1" * 300}),
    ("messages", {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "1" * 300}}),
    ("messages", {"type": "content_block_start", "content_block": {"type": "text", "text": "1" * 300}}),
    ("gemini", {"candidates": [{"content": {"parts": [{"text": "1" * 300}]}}]}),
    ("gemini", {"candidates": [{"content": {"parts": [{"functionCall": {"args": {"a": ["1" * 300]}}}]}}]}),
    ("gemini", {"candidates": [{"content": {"parts": [{"functionCall": {"args": {"1" * 300: 1}}}]}}]}),
]


@pytest.mark.parametrize(("api", "event"), SEEN)
def test_of_a_cut_stream_each_byte_may_be_a_token(api: Api, event: object) -> None:
    """Digits and signs are, for many models."""
    meter = Meter(api)
    meter.feed(events(event))
    assert PRICER.settlement(DEMAND, meter).output >= 300


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (
            "messages",
            {"content": [{"type": "text", "text": "long"}], "usage": {"input_tokens": 0, "output_tokens": 0}},
        ),
        ("messages", {"content": [], "usage": {"input_tokens": 0, "output_tokens": 0}}),
        ("messages", {"content": [{"type": "text", "text": "long"}], "usage": {"input_tokens": 9}}),
        ("responses", {"output": [], "usage": {}}),
        ("responses", {"output": [{"content": [{"text": "long"}]}], "usage": {"input_tokens": 9}}),
        (
            "chat",
            {"choices": [{"message": {"function_call": {"arguments": "x"}}}], "usage": {"prompt_tokens": 9}},
        ),
    ],
)
def test_a_usage_of_nothing_says_nothing(api: Api, body: object) -> None:
    meter = Meter(api)
    meter.whole(json.dumps(body).encode())
    assert PRICER.settlement(DEMAND, meter) == in_full(DEMAND)


def whole_answer(tokens: int = 10) -> Meter:
    meter = Meter("chat")
    meter.whole(json.dumps({"usage": {"prompt_tokens": tokens, "completion_tokens": tokens}}).encode())
    return meter


def test_a_price_that_changes_while_a_call_runs_never_counts_more_than_was_reserved() -> None:
    """By a reload of `prices`, or where the hour decides; one that went away is not for nothing."""
    dearer = Pricer(PriceBook({"m:x": Price(input=1000, output=10_000)}))
    assert dearer.settlement(DEMAND, whole_answer()).nano == DEMAND.nano
    gone = Pricer(PriceBook()).settlement(DEMAND, whole_answer())
    assert (gone.nano, gone.unpriced, gone.input) == (DEMAND.nano, 0, 10)
    cheaper = Pricer(PriceBook({"m:x": Price(input=0.1, output=1)}))
    assert cheaper.settlement(DEMAND, whole_answer()).nano == 11_000


def test_a_vendor_that_counts_more_than_was_bounded_is_believed() -> None:
    assert PRICER.settlement(DEMAND, whole_answer(5000)).nano > (DEMAND.nano or 0)


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", {"service_tier": "flex", "usage": {"prompt_tokens": 100, "completion_tokens": 10}}),
        ("responses", {"service_tier": "flex", "usage": {"input_tokens": 100, "output_tokens": 10}}),
        (
            "gemini",
            {"usageMetadata": {"serviceTier": "flex", "promptTokenCount": 100, "candidatesTokenCount": 10}},
        ),
    ],
)
def test_an_answer_counts_at_the_price_of_the_tier_that_it_names(api: Api, body: dict[str, object]) -> None:
    """A call on the flex tier was counted at the full price."""
    ref = "gemini:m" if api == "gemini" else "openai:m"
    pricer = Pricer(PriceBook({ref: Price(input=1, output=10)}))
    demand = Demand("alice", (), ref, 1000, 500, pricer.worst(ref, 1000, 500))
    flex, standard = Meter(api), Meter(api)
    flex.read(body)
    standard.read(json.loads(json.dumps(body).replace("flex", "default")))
    assert pricer.settlement(demand, standard).nano == 200_000
    assert pricer.settlement(demand, flex).nano == 100_000


def test_a_dearer_tier_of_an_accounts_own_is_counted_whatever_was_reserved() -> None:
    pricer = Pricer(PriceBook({"openai:m": Price(input=1, output=10)}))
    demand = Demand("alice", (), "openai:m", 100, 10, pricer.worst("openai:m", 100, 10))
    meter = Meter("chat")
    meter.read({"service_tier": "priority", "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
    assert pricer.settlement(demand, meter).nano == 500_000 > demand.nano
