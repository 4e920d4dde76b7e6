"""The Responses API: request bodies and the reader, without a server."""

import json

import httpx
import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message, Tool, ToolCall
from po_jupyter.llm.messages import Image
from po_jupyter.llm.providers.openai.responses import ResponsesReader, responses_body
from po_jupyter.llm.wire.bodies import HttpResponse
from tests.support import sdk_types as sdk

PIXEL = Image("iVBORw0KGgo=", "image/png")
TOOL = Tool("get_time", "The time.")


def ask(*messages, model="openai:gpt-5-mini", **more):
    return ChatRequest(model, messages or (Message("user", "hi"),), **more)


def body_of(request):
    body = json.loads(json.dumps(responses_body(request, stream=False), default=dict))
    sdk.responses_request(body)
    return body


def test_the_first_system_message_is_the_instructions():
    body = body_of(ask(Message("system", "Be short."), Message("user", "hi"), Message("system", "Now.")))
    assert body["instructions"] == "Be short."
    assert [item["role"] for item in body["input"]] == ["user", "system"]


def test_nothing_is_stored_and_only_what_was_set_is_sent():
    assert body_of(ask()) == {
        "model": "gpt-5-mini",
        "store": False,
        "input": [{"type": "message", "role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(("model", "reasons"), [("openai:gpt-5-mini", True), ("openai:gpt-4o", False)])
def test_models_that_reason_get_an_effort_and_no_temperature(model, reasons):
    body = body_of(ask(model=model, temperature=0.3, effort="low", max_tokens=99, tools=(TOOL,)))
    assert ("temperature" in body, "reasoning" in body, "include" in body) == (not reasons, reasons, reasons)
    assert body["max_output_tokens"] >= 99


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("", None),
        ("none", "none"),
        ("required", "required"),
        ("get_time", {"type": "function", "name": "get_time"}),
    ],
)
def test_the_choice_of_a_tool(choice, sent):
    assert body_of(ask(tools=(TOOL,), tool_choice=choice)).get("tool_choice") == sent


def test_json_mode_has_the_word_in_an_input_message_where_the_api_counts_it():
    told = {"type": "message", "role": "system", "content": "Answer with JSON and nothing else."}
    for turns in ((), (Message("system", "As JSON, please."),)):
        body = body_of(ask(*turns, Message("user", "hi"), json=True))
        assert body["input"][0] == told and body["input"][1]["content"] == "hi"
    assert len(body_of(ask(Message("user", "as Json"), json=True))["input"]) == 1
    assert body_of(ask(Message("system", "as json"), json=True))["input"][0]["content"] == "as json"
    assert told not in body_of(ask(schema={"type": "object"}))["input"]


def test_a_request_of_system_messages_has_a_turn():
    body = body_of(ask(Message("system", "Be short."), Message("system", "Why?")))
    assert (body["instructions"], body["input"][0]["role"]) == ("Be short.", "user")


def test_a_limit_below_the_apis_is_sent_as_the_lowest():
    assert body_of(ask(model="openai:gpt-4o", max_tokens=9))["max_output_tokens"] == 16


def test_turns_with_images_calls_and_results():
    call = ToolCall("c1", "get_time", {"zone": "UTC"})
    turns = (
        Message("user", "look", images=(PIXEL,)),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "noon", tool_call_id="c1"),
    )
    user, made, result = body_of(ask(*turns))["input"]
    assert [part["type"] for part in user["content"]] == ["input_text", "input_image"]
    assert (made["call_id"], json.loads(made["arguments"])) == ("c1", {"zone": "UTC"})
    assert result == {"type": "function_call_output", "call_id": "c1", "output": "noon"}


def test_a_carried_turn_goes_back_as_it_came_and_only_to_its_provider():
    items = [{"type": "reasoning", "encrypted_content": "x", "summary": [], "id": "r1"}]
    turn = Message("assistant", "text", carry={"provider": "openai", "items": items})
    assert responses_body(ask(turn), stream=False)["input"] == items
    assert responses_body(ask(turn), stream=False, provider="other")["input"][0]["content"] == "text"


def reader(**more):
    return ResponsesReader("openai", ask(**more), "k", "OPENAI_API_KEY")


def message(text):
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def events(toy, *items):
    return "".join(toy.feed(json.dumps(item).encode()) for item in items)


def test_the_last_event_is_the_truth():
    """A server whose pieces were lost, came twice, or never came."""
    whole = {"type": "response.completed", "response": {"output": [message("hello")], "status": "completed"}}
    delta = {"type": "response.output_text.delta", "delta": "hel", "sequence_number": 1}
    for pieces, shown in (([delta], "hel"), ([delta, delta], "hel"), ([], "hello")):
        toy = reader()
        assert events(toy, *pieces, whole) == shown
        assert toy.finish_stream().text == "hello"


@pytest.mark.parametrize(
    ("response", "finish"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "refused"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete"}, "length"),
        ({"status": "failed"}, "failed"),
    ],
)
def test_why_an_answer_ended(response, finish):
    toy = reader()
    toy.read_body({"output": [message("x")], **response})
    assert toy.finish == finish


def test_an_answer_without_output_is_malformed():
    with pytest.raises(ModelUnavailable, match="no output"):
        reader().read_response(HttpResponse(200, httpx.Headers(), b"{}"))


def test_encrypted_reasoning_is_carried_without_its_state():
    output = [{"type": "reasoning", "encrypted_content": "x", "status": "completed", "id": None}, message("a")]
    toy = reader()
    toy.read_body({"output": output})
    assert toy.carry == {
        "provider": "openai",
        "items": [{"type": "reasoning", "encrypted_content": "x"}, message("a")],
    }
