"""Readings of whole responses and of streams, the same for both, API by API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.testing.replay.cassettes import Exchange
from po_jupyter.testing.replay.readings import AnswerReading, api_of, read

HOSTS = {
    "chat": "https://api.openai.com/v1/chat/completions",
    "responses": "https://api.openai.com/v1/responses",
    "messages": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
}
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": []},
    "responses": {"model": "m", "input": "Hello"},
    "messages": {"model": "m", "messages": []},
    "gemini": {"contents": []},
}


def exchange(api: str, *bodies: dict[str, Any]) -> Exchange:
    whole = json.dumps(bodies[0])
    text = (
        whole
        if len(bodies) == 1
        else "".join(f"data: {json.dumps(b)}\n\n" for b in bodies) + "data: [DONE]\n\n"
    )
    return Exchange("a#1", HOSTS[api], REQUESTS[api], 200, {}, text.encode())


CHAT_USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
CASES: list[tuple[str, tuple[dict[str, Any], ...], AnswerReading]] = [
    (
        "chat",
        ({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": CHAT_USAGE},),
        AnswerReading("Hi", [], "stop", 9, 4, 2),
    ),
    (
        "chat",
        (
            {
                "choices": [
                    {"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a"'}}]}}
                ]
            },
            {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}}]},
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": CHAT_USAGE},
        ),
        AnswerReading("", [("f", {"a": 1})], "tool_calls", 9, 4, 2),
    ),
    (
        "responses",
        (
            {"type": "response.output_text.delta", "delta": "Hi"},
            {
                "type": "response.completed",
                "response": {
                    "status": "completed",
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
                    "usage": {
                        "input_tokens": 9,
                        "output_tokens": 4,
                        "input_tokens_details": {"cached_tokens": 2},
                    },
                },
            },
        ),
        AnswerReading("Hi", [], "completed", 9, 4, 2),
    ),
    (
        "messages",
        (
            {"type": "message_start", "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 2}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "name": "f", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'},
            },
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
        ),
        AnswerReading("Hi", [("f", {"a": 1})], "tool_use", 7, 4, 2),
    ),
    (
        "gemini",
        (
            {"candidates": [{"content": {"parts": [{"text": "Hm", "thought": True}, {"text": "H"}]}}]},
            {
                "candidates": [{"content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 1},
            },
        ),
        AnswerReading("Hi", [], "STOP", 9, 4, 0),
    ),
]


@pytest.mark.parametrize(("api", "bodies", "reading"), CASES)
def test_a_response_is_read_after_its_reference(
    api: Any, bodies: tuple[dict[str, Any], ...], reading: AnswerReading
) -> None:
    recorded = exchange(api, *bodies)
    assert api_of(recorded) == api
    assert read(recorded, api) == reading


def test_embeddings_are_no_answers() -> None:
    recorded = exchange("responses", {"object": "list", "data": [{"object": "embedding", "embedding": [0.1]}]})
    assert api_of(recorded) is None
