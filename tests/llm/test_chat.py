"""Requests and responses as values: one hash for one answer, and JSON that comes back."""

import json

from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.messages import Image, Tool, ToolCall
from po_jupyter.model.run.usage import Usage

MESSAGE = Message("user", "hi")


def ask(text="hi", **fields):
    return ChatRequest("openai:a:b", (Message("user", text),), **fields)


def test_requests_have_one_hash_for_one_answer():
    one = ask(temperature=0.1, timeout=5)
    same = [ask(temperature=0.1, timeout=9), ask(temperature=0.1, cache=True)]
    assert {request.request_hash for request in same} == {one.request_hash} and len(one.request_hash) == 32
    others = [
        ask(), ask("x", temperature=0.1), ask(temperature=0.1, schema={}), ask(temperature=0.1, json=True),
        ask(temperature=0.1, seed=0), ask(temperature=0.1, stop=("x",)), ask(temperature=0.1, effort="low"),
        ask(temperature=0.1, tools=(Tool("f", "d", {}),)), ask(temperature=0.1, tool_choice="none"),
    ]  # fmt: skip
    assert len({request.request_hash for request in [one, *others]}) == 10


def test_a_field_at_its_default_is_in_no_hash():
    """A new field changes no hash of before."""
    assert ask().to_json() == {"model": "openai:a:b", "messages": [{"role": "user", "content": "hi"}]}
    assert ask().request_hash == "e47327212fea912482a8470c6f65add0"


def test_a_model_ref_is_cut_at_its_first_colon():
    assert (ask().provider, ask().model_name) == ("openai", "a:b")


def test_an_answer_is_a_turn_of_the_request_that_goes_on_from_it():
    call = ToolCall("c1", "f", {})
    response = ChatResponse("x", tool_calls=(call,), carry={"signed": 1})
    onward = ask().then(response.message, Message("tool", "7", tool_call_id="c1"))
    assert [m.role for m in onward.messages] == ["user", "assistant", "tool"]
    assert onward.messages[1].tool_calls == (call,) and onward.messages[1].carry == {"signed": 1}


def test_a_response_comes_back_from_json_without_what_is_not_recorded():
    response = ChatResponse(
        "x", Usage(input_tokens=1, calls=1), "m", "tool_calls", "r", 1.5, estimated=True, carry={"a": 1},
        tool_calls=(ToolCall("c1", "f", {}),), api="chat", limits={"requests": (1, 1, 1.0)},
    )  # fmt: skip
    back = ChatResponse.from_json(json.loads(json.dumps(response.to_json())), replayed=True)
    assert back == response and back.replayed and back.limits is None
    assert ChatResponse.from_json({"text": "x"}) == ChatResponse("x")


def test_a_message_says_what_it_holds_and_no_more():
    image = Image("R0lGODlh", "image/gif")
    message = Message("user", "look", images=(image,))
    assert message.to_json() == {"role": "user", "content": "look", "images": [image.to_json()]}
