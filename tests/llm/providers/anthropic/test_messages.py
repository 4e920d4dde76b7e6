"""The Messages API: request bodies and the reader, without a server."""

import json

import httpx
import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.bounds import ROOM
from po_jupyter.llm.chat import ChatRequest, Message, Tool, ToolCall
from po_jupyter.llm.messages import Image
from po_jupyter.llm.providers.anthropic.messages import MAX_TOKENS, MessagesReader, request_body
from po_jupyter.llm.wire.bodies import HttpResponse
from tests.support import sdk_types as sdk

pytestmark = pytest.mark.integration  # imports the vendor's library: it takes seconds

PIXEL = Image("iVBORw0KGgo=", "image/png")
TOOL = Tool("get_time", "The time.")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def ask(*messages, model="anthropic:claude-sonnet-4-5", **more):
    return ChatRequest(model, messages or (Message("user", "hi"),), **more)


def body_of(request):
    body = json.loads(json.dumps(request_body(request, stream=False), default=dict))
    sdk.messages_request(body)
    return body


def test_only_what_was_set_is_sent_but_for_the_limit_that_the_api_requires():
    turn = {"role": "user", "content": "hi"}
    assert body_of(ask()) == {"model": "claude-sonnet-4-5", "max_tokens": MAX_TOKENS, "messages": [turn]}


def test_system_messages_go_together_wherever_they_stand():
    body = body_of(ask(Message("system", "One."), Message("user", "hi"), Message("system", "Two.")))
    assert body["system"] == "One.\n\nTwo." and len(body["messages"]) == 1


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "level", "temperature"),
    [
        ("claude-3-opus", "high", None, None, True),
        ("claude-sonnet-4-5", "high", {"type": "enabled", "budget_tokens": 16_384}, None, False),
        ("claude-sonnet-4-5", "none", None, None, True),
        ("claude-opus-4-6", "minimal", {"type": "adaptive"}, "low", False),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, "high", False),
        ("claude-opus-4-8", "xhigh", {"type": "adaptive"}, "xhigh", False),
        ("claude-opus-4-8", None, None, None, False),
        ("claude-opus-5", "none", {"type": "disabled"}, None, False),
        ("claude-opus-5", None, None, None, False),
        ("claude-mythos-preview", "none", {"type": "disabled"}, None, False),
        ("claude-mythos-preview", "high", {"type": "adaptive"}, "high", False),
        ("us.anthropic.claude-opus-4-8-v1:0", "high", {"type": "adaptive"}, "high", False),
        ("anthropic/claude-opus-4.8", "high", {"type": "adaptive"}, "high", False),
        ("claude-3-5-sonnet-latest", "high", None, None, True),
        ("claude-instant", "high", None, None, True),
        ("kimi-k2.5", "high", None, None, True),
    ],
)
def test_thinking_by_version(model, effort, thinking, level, temperature):
    body = body_of(ask(model=f"anthropic:{model}", effort=effort, temperature=0.3, max_tokens=10_000))
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == level
    assert ("temperature" in body) is temperature


def test_thinking_takes_nothing_from_the_answer():
    body = body_of(ask(effort="low", max_tokens=1000))
    assert body["thinking"]["budget_tokens"] == 2048 and body["max_tokens"] == 1000 + ROOM["low"]
    body = body_of(ask(effort="low", max_tokens=1000, max_thinking_tokens=1500))
    assert body["thinking"]["budget_tokens"] == 1500 and body["max_tokens"] == 2500
    smallest = body_of(ask(effort="low", max_tokens=10, max_thinking_tokens=0))
    assert smallest["thinking"]["budget_tokens"] == 1024 < smallest["max_tokens"], "the API knows no less"
    assert body_of(ask(model="anthropic:claude-3-haiku-20240307", max_tokens=9000))["max_tokens"] == 4096


def test_a_schema_is_enforced_or_goes_as_text():
    enforced = body_of(ask(schema=SCHEMA))
    assert enforced["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert "system" not in enforced
    assert "JSON Schema" in body_of(ask(schema=SCHEMA, model="anthropic:claude-3-opus"))["system"]
    assert body_of(ask(json=True))["system"] == "Answer with JSON and nothing else."


def test_results_of_one_turns_tools_go_into_one_message():
    calls = (ToolCall("c1", "get_time", {}), ToolCall("c2", "get_time", {"zone": "UTC"}))
    turns = (
        Message("user", "look", images=(PIXEL,)),
        Message("assistant", "so", tool_calls=calls),
        Message("tool", "noon", tool_call_id="c1"),
        Message("tool", "one", tool_call_id="c2"),
    )
    user, made, results = body_of(ask(*turns, tools=(TOOL,), tool_choice="required"))["messages"]
    assert [block["type"] for block in user["content"]] == ["image", "text"]
    assert [block["type"] for block in made["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in results["content"]] == ["c1", "c2"]


def test_a_carried_turn_goes_back_as_it_came_and_only_to_its_provider():
    content = [{"type": "thinking", "thinking": "…", "signature": "s"}]
    turn = Message("assistant", "text", carry={"provider": "anthropic", "content": content})
    assert request_body(ask(turn), stream=False)["messages"][0]["content"] == content
    assert request_body(ask(turn), stream=False, provider="other")["messages"][0]["content"] == "text"


def read(*events):
    reader = MessagesReader("anthropic", ask(), "k", "ANTHROPIC_API_KEY")
    shown = "".join(reader.feed(json.dumps(event).encode()) for event in events)
    return reader, shown


def start(index, block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, **more):
    return {"type": "content_block_delta", "index": index, "delta": more}


def test_a_stream_of_blocks_is_put_together():
    reader, shown = read(
        {"type": "message_start", "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 9}}},
        start(0, {"type": "thinking", "thinking": ""}),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="sig"),
        start(1, {"type": "text", "text": ""}),
        start(1, {"type": "text", "text": "twice"}),
        delta(1, type="text_delta", text="hel"),
        delta(1, type="text_delta", text="lo"),
        start(2, {"type": "tool_use", "id": "c1", "name": "get_time", "input": {}}),
        delta(2, type="input_json_delta", partial_json='{"zone": '),
        delta(2, type="input_json_delta", partial_json='"UTC"}'),
        {"type": "ping"},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    )
    answer = reader.finish_stream()
    assert (shown, answer.text, answer.finish, reader.ended) == ("hello", "hello", "tool_calls", True)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 4)
    assert dict(answer.tool_calls[0].arguments) == {"zone": "UTC"}
    assert answer.carry["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "hello"},
        {"type": "tool_use", "id": "c1", "name": "get_time", "input": {"zone": "UTC"}},
    ]


def test_a_piece_of_a_block_that_never_began_is_malformed():
    with pytest.raises(ModelUnavailable, match="never began"):
        read(delta(3, type="text_delta", text="x"))


def test_a_request_of_system_messages_has_a_turn():
    body = body_of(ask(Message("system", "Be short."), Message("system", "Why?")))
    assert body["system"] == "Be short." and body["messages"] == [{"role": "user", "content": "Why?"}]


def test_what_the_api_has_no_room_for_is_clamped_or_done_here():
    body = body_of(ask(stop=("\n", "END"), temperature=1.6))
    assert (body["stop_sequences"], body["temperature"]) == (["END"], 1.0)
    assert "stop_sequences" not in body_of(ask(stop=("\n",)))
    reader = MessagesReader("anthropic", ask(stop=("\n",)), "k", "K")
    body = {"content": [{"type": "text", "text": "one\ntwo"}], "stop_reason": "end_turn"}
    response = HttpResponse(200, httpx.Headers(), json.dumps(body).encode())
    assert reader.read_response(response).text == "one"


def test_a_list_at_the_root_is_enforced():
    body = body_of(ask(schema={"type": "array", "items": SCHEMA}))
    assert body["output_config"]["format"]["schema"]["type"] == "array" and "system" not in body


LONG = "Judge by these rules. " * 200


def marks(body):
    blocks = [*(body.get("system") or ()), *(b for turn in body["messages"] for b in turn["content"])]
    return [block["text"] for block in blocks if isinstance(block, dict) and "cache_control" in block]


def test_the_common_prefix_of_a_map_is_marked_for_the_cache_where_it_ends():
    """E7."""
    system = Message("system", LONG, shared=len(LONG))
    begun = Message("user", f"{LONG}Text: abc", shared=len(LONG))
    assert marks(body_of(ask(system, Message("user", "abc")))) == [LONG]
    assert marks(body_of(ask(begun))) == [LONG]
    body = body_of(ask(system, begun, tools=(TOOL,)))
    assert marks(body) == [LONG] and body["messages"][0]["content"][1]["text"] == "Text: abc"
    turns = (
        Message("user", LONG, shared=len(LONG)),
        Message("assistant", "ok", shared=2),
        Message("user", "abc"),
    )
    assert marks(body_of(ask(*turns))) == ["ok"]


def test_what_is_too_short_or_differs_before_is_not_marked():
    user = Message("user", f"{LONG}abc", shared=len(LONG))
    assert isinstance(body_of(ask(Message("user", "Rules: abc", shared=7)))["messages"][0]["content"], str)
    assert marks(body_of(ask(Message("system", "row 3"), user))) == []
    assert isinstance(
        body_of(ask(Message("user", f"{LONG} ", shared=len(LONG))))["messages"][0]["content"], str
    )
    assert ask(user).request_hash == ask(Message("user", user.content)).request_hash
