"""The Gemini API: request bodies, URLs and the reader, without a server."""

import json

import pytest

from po_jupyter.llm.chat import ChatRequest, Message, Tool, ToolCall
from po_jupyter.llm.messages import Image
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader, request_body
from tests.support import sdk_types as sdk

PIXEL = Image("iVBORw0KGgo=", "image/png")
TOOL = Tool("get_time", "The time.")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def ask(*messages, model="gemini:gemini-2.5-flash", **more):
    return ChatRequest(model, messages or (Message("user", "hi"),), **more)


def body_of(request):
    body = json.loads(json.dumps(request_body(request), default=dict))
    sdk.gemini_request(body)
    return body


def test_only_what_was_set_is_sent():
    assert body_of(ask()) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-1.5-pro", "high", None),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-3.1-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3.5-flash", "minimal", {"thinkingLevel": "minimal"}),
        ("gemini-3.5-flash", "max", {"thinkingLevel": "high"}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "low"}),
        ("gemma-3-27b-it", "low", None),
    ],
)
def test_effort_by_version(model, effort, thinking):
    config = body_of(ask(model=f"gemini:{model}", effort=effort, seed=3)).get("generationConfig")
    assert config.get("thinkingConfig") == thinking and config["seed"] == 3


def test_a_schema_is_enforced_and_what_is_lost_goes_as_text():
    whole = body_of(ask(schema=SCHEMA))
    assert whole["generationConfig"]["responseJsonSchema"] == SCHEMA and "systemInstruction" not in whole
    rich = {**SCHEMA, "properties": {"a": {"type": "string", "pattern": "^x"}}}
    lossy = body_of(ask(schema=rich))
    assert "pattern" not in json.dumps(lossy["generationConfig"]) and "^x" in json.dumps(
        lossy["systemInstruction"]
    )


def test_with_tools_json_is_only_asked_for_in_words():
    body = body_of(ask(schema=SCHEMA, tools=(TOOL,), tool_choice="get_time"))
    assert "generationConfig" not in body and "JSON Schema" in json.dumps(body["systemInstruction"])
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["get_time"]
    assert "generationConfig" not in body_of(ask(json=True, tools=(TOOL,)))
    assert body_of(ask(json=True))["generationConfig"] == {"responseMimeType": "application/json"}


def test_a_result_names_its_function_and_an_id_of_ours_stays_here():
    calls = (ToolCall("call_0", "get_time", {}), ToolCall("g-1", "get_day", {"n": 1}))
    turns = (
        Message("user", "look", images=(PIXEL,)),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "noon", tool_call_id="call_0"),
        Message("tool", "Monday", tool_call_id="g-1"),
    )
    user, made, results = body_of(ask(*turns))["contents"]
    assert [list(part) for part in user["parts"]] == [["inlineData"], ["text"]]
    assert [part["functionCall"].get("id") for part in made["parts"]] == [None, "g-1"]
    responses = [part["functionResponse"] for part in results["parts"]]
    assert [(r["name"], r.get("id")) for r in responses] == [("get_time", None), ("get_day", "g-1")]


def reader():
    return GeminiReader("gemini", ask(), "k", "GEMINI_API_KEY")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "refused"), ("OTHER", "failed"), ("NEW", "new")],
)
def test_why_an_answer_ended(reason, finish):
    toy = reader()
    toy.read_event({"candidates": [{"finishReason": reason}]})
    assert toy.finish == finish


def test_a_blocked_prompt_is_a_refusal_with_its_reason():
    toy = reader()
    toy.read_body({"promptFeedback": {"blockReason": "SAFETY"}})
    assert (toy.finish, toy.refusal) == ("refused", "it blocked the prompt (SAFETY)")


def test_thoughts_are_no_text_but_tokens_and_signed_turns_are_carried():
    toy = reader()
    parts = [
        {"text": "hm", "thought": True},
        {"text": "ok", "thoughtSignature": "s"},
        {"functionCall": {"name": "get_time", "args": {"zone": "UTC"}}},
    ]
    usage = {
        "promptTokenCount": 5,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 3,
    }
    text = toy.read_body({"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage})
    toy.before_response()
    assert text == "ok" and toy.carry == {"provider": "gemini", "parts": parts}
    assert (toy.usage.output_tokens, toy.usage.reasoning_tokens, toy.usage.cached_tokens) == (9, 7, 3)


def test_a_request_of_system_messages_has_a_turn():
    body = body_of(ask(Message("system", "Why?")))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}


def test_what_the_api_has_no_room_for_is_clamped_or_done_here():
    config = body_of(ask(stop=tuple("ABCDEF"), seed=2**40 + 5))["generationConfig"]
    assert config == {"stopSequences": list("ABCDE"), "seed": 5}
    toy = GeminiReader("gemini", ask(stop=tuple("ABCDEF")), "k", "K")
    parts = [{"text": "one F two"}]
    toy.feed(json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode())
    assert toy.finish_stream().text == "one "
