"""Converse: request bodies by model, and the reader, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.errors import AnswerEmpty, ModelRefused, ModelUnavailable
from po_jupyter.llm.bounds import output_limit, thinks
from po_jupyter.llm.chat import ChatRequest, Message, Tool, ToolCall
from po_jupyter.llm.providers.bedrock.converse import ANSWER_TOOL, ConverseReader, request_body
from po_jupyter.llm.wire.bodies import HttpResponse
from tests.support import sdk_types as sdk

SONNET = "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "bedrock:us.anthropic.claude-opus-4-6-v1"
SONNET37 = "bedrock:us.anthropic.claude-3-7-sonnet-20250219-v1:0"
NOVA2 = "bedrock:us.amazon.nova-2-lite-v1:0"
HAIKU3 = "bedrock:anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "bedrock:us.amazon.nova-lite-v1:0"
ARN = "bedrock:arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123def456"
SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}
TOOL = Tool("get_time", "The time.")


def ask(*messages: Message, model: str = NOVA, **more: Any) -> ChatRequest:
    return ChatRequest(model, messages or (Message("user", "hi"),), **more)


def body_of(request: ChatRequest) -> Any:
    body = json.loads(json.dumps(request_body(request), default=dict))
    sdk.converse_request(body, request.model_name)
    return body


def reader(request: ChatRequest) -> ConverseReader:
    return ConverseReader("bedrock", request, "k", "AWS_BEARER_TOKEN_BEDROCK")


def read(request: ChatRequest, content: list[Any], stop: str = "end_turn") -> Any:
    from httpx import Headers

    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop,
        "usage": usage,
    }
    return reader(request).read_response(HttpResponse(200, Headers(), json.dumps(body).encode()))


def test_only_what_was_set_is_sent() -> None:
    assert body_of(ask()) == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    ("model", "how"),
    [(SONNET, "format"), (HAIKU3, "tool"), (NOVA, "tool"), (ARN, "text"), ("bedrock:openai.gpt-oss-20b-1:0", "text"),
     ("bedrock:mistral.mistral-large-2407-v1:0", "any")],
)  # fmt: skip
def test_a_schema_is_enforced_as_the_model_can(model: str, how: str) -> None:
    body = body_of(ask(model=model, schema=SCHEMA))
    choice = body.get("toolConfig", {}).get("toolChoice", {})
    assert ("outputConfig" in body) is (how == "format")
    assert choice == {"tool": {"tool": {"name": ANSWER_TOOL}}, "any": {"any": {}}}.get(how, {})
    assert ("JSON Schema" in json.dumps(body.get("system", ""))) is (how == "text")


def test_with_tools_or_thoughts_a_schema_is_text() -> None:
    for more in ({"tools": (TOOL,)}, {"effort": "high", "max_tokens": 9000}):
        body = body_of(ask(model="bedrock:us.anthropic.claude-sonnet-4-20250514-v1:0", schema=SCHEMA, **more))
        assert "JSON Schema" in json.dumps(body["system"]) and ANSWER_TOOL not in json.dumps(body)


def test_the_input_of_the_tool_is_the_answer() -> None:
    request = ask(schema=SCHEMA)
    use = {"toolUse": {"toolUseId": "t1", "name": ANSWER_TOOL, "input": {"label": "bug"}}}
    response = read(request, [{"text": "Well:"}, use], "tool_use")
    assert json.loads(response.text) == {"label": "bug"} and response.finish == "stop"
    assert response.tool_calls == ()
    wrapped = ask(schema={"enum": ["a", "b"]})
    shown = body_of(wrapped)["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
    assert shown["properties"]["answer"] == {"enum": ["a", "b"]}
    use["toolUse"]["input"] = {"answer": "a"}
    assert read(wrapped, [use], "tool_use").text == '"a"'


def test_a_model_that_writes_the_answer_all_the_same_is_believed() -> None:
    assert read(ask(schema=SCHEMA), [{"text": '{"label": "bug"}'}]).text == '{"label": "bug"}'
    assert read(ask(schema={"enum": ["a"]}), [{"text": '"a"'}]).text == '"a"'
    toy = reader(ask(schema=SCHEMA))
    for event in (
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": '{"label"'}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": ': "bug"}'}}},
        {"messageStop": {"stopReason": "end_turn"}},
    ):
        toy.feed(json.dumps(event).encode())
    assert toy.finish_stream().text == '{"label": "bug"}'


def test_a_streamed_answer_by_tool_comes_in_pieces() -> None:
    toy = reader(ask(schema=SCHEMA))
    start = {"toolUse": {"toolUseId": "t", "name": ANSWER_TOOL}}
    events = [{"contentBlockStart": {"contentBlockIndex": 1, "start": start}}]
    events += [
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": piece}}}}
        for piece in ('{"label"', ': "bug"}')
    ]
    events.append({"messageStop": {"stopReason": "tool_use"}})
    assert "".join(toy.feed(json.dumps(event).encode()) for event in events) == '{"label": "bug"}'
    assert toy.finish_stream().finish == "stop"


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        (OPUS, "high", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        (SONNET37, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("bedrock:openai.gpt-oss-120b-1:0", "none", {"reasoning_effort": "low"}),
        ("bedrock:qwen.qwen3-32b-v1:0", "medium", {"reasoning_config": "high"}),
        (NOVA2, "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA, "high", None),
        (ARN, "high", None),
    ],
)  # fmt: skip
def test_effort_as_the_maker_takes_it(model: str, effort: Any, fields: Any) -> None:
    body = body_of(ask(model=model, effort=effort, max_tokens=9000))
    assert body.get("additionalModelRequestFields") == fields
    assert thinks(model, effort) is (fields is not None)


def test_the_bounds_of_makers_hold_behind_bedrock() -> None:
    assert output_limit(ask(model="bedrock:anthropic.claude-3-haiku-20240307-v1:0", max_tokens=9000)) == 4096
    assert output_limit(ask(max_tokens=20_000)) == 10_000
    assert output_limit(ask(model=ARN, max_tokens=20_000)) == 20_000


def test_turns_of_one_role_are_one_turn_and_results_go_together() -> None:
    calls = (ToolCall("t1", "get_time", {}), ToolCall("t2", "get_time", {"n": 1}))
    turns = (
        Message("user", "one"), Message("user", "two"), Message("assistant", "", tool_calls=calls),
        Message("tool", "noon", tool_call_id="t1"), Message("tool", "", tool_call_id="t2"),
    )  # fmt: skip
    user, made, results = body_of(ask(*turns, tools=(TOOL,)))["messages"]
    assert [part["text"] for part in user["content"]] == ["one", "two"]
    assert [part["toolUse"]["toolUseId"] for part in made["content"]] == ["t1", "t2"]
    assert [part["toolResult"]["content"] for part in results["content"]] == [[{"text": "noon"}], []]


@pytest.mark.parametrize(("model", "marked"), [(SONNET, True), (NOVA, True), (HAIKU3, False), (ARN, False)])
def test_what_rows_have_in_common_is_marked_for_the_cache(model: str, marked: bool) -> None:
    text = "x" * 4000 + "the row"
    (turn,) = body_of(ask(Message("user", text, shared=4000), model=model))["messages"]
    points = [n for n, block in enumerate(turn["content"]) if "cachePoint" in block]
    assert points == ([1] if marked else [])
    assert "".join(block.get("text", "") for block in turn["content"]) == text


def test_usage_has_the_cache_in_it() -> None:
    toy = reader(ask())
    toy.read_usage({"usage": {"inputTokens": 433, "outputTokens": 16, "cacheReadInputTokens": 2752,
                              "cacheWriteInputTokens": 7, "totalTokens": 3208}})  # fmt: skip
    assert toy.usage is not None
    usage = toy.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (3192, 2752, 7)
    assert usage.input_tokens + usage.output_tokens == 3208


def test_a_guardrail_is_a_refusal_and_a_broken_answer_another_try() -> None:
    with pytest.raises(ModelRefused, match="guardrail"):
        read(ask(), [{"text": "Sorry."}], "guardrail_intervened")
    with pytest.raises(ModelUnavailable):
        read(ask(), [], "malformed_model_output")


def test_an_answer_of_thoughts_alone_is_none() -> None:
    from po_jupyter.llm.wire.ends import check_not_empty

    request = ask()
    response = read(request, [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}])
    with pytest.raises(AnswerEmpty):
        check_not_empty(response, request)
