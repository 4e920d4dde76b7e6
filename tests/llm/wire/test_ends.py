"""The table of ends, and answers that are none: every wire, the whole family, whole and streamed (A5, E2)."""

import json

import httpx
import pytest

from po_jupyter.errors import AnswerEmpty, AnswerTruncated, ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, Tool, ToolCall
from po_jupyter.llm.providers.anthropic.messages import MessagesReader
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader
from po_jupyter.llm.providers.compatible.family import QUIRKS, Quirks
from po_jupyter.llm.providers.gemini.generate_content import GeminiReader
from po_jupyter.llm.providers.openai.responses import ResponsesReader
from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.ends import ENDS, check_not_empty, end_of
from po_jupyter.model.run.usage import Usage

FAMILY = ["openai", "vllm", *QUIRKS]
USAGE = {"prompt_tokens": 9, "completion_tokens": 4}


def request_to(provider, **more):
    return ChatRequest(f"{provider}:m", (Message("user", "hi"),), **more)


def chat_reader(provider):
    return ChatReader(provider, request_to(provider), None, "K", QUIRKS.get(provider, Quirks()))


def whole(reader, body):
    response = HttpResponse(200, httpx.Headers(), json.dumps(body).encode())
    try:
        return reader.read_response(response)
    except ModelError as error:
        reader.annotate(error)
        raise


def streamed(reader, *events):
    try:
        for event in events:
            reader.feed(json.dumps(event).encode())
        return reader.finish_stream()
    except ModelError as error:
        reader.annotate(error)
        raise


def choice(text, reason, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason, **more}]}


@pytest.mark.parametrize("provider", FAMILY)
@pytest.mark.parametrize(
    "last",
    [
        choice("", "error"),
        choice("", "error", error={"code": 502, "message": "the upstream broke"}),
        choice("", None, error={"message": "the upstream broke"}),
        {"error": {"message": "the upstream broke"}, **choice("", "error")},
        choice("", "network_error"),
        choice("", "insufficient_system_resource"),
        choice("", "abort"),
    ],
)
def test_half_an_answer_is_an_error_whoever_of_the_family_sent_it(provider, last):
    reader = chat_reader(provider)
    with pytest.raises(ModelUnavailable) as caught:
        streamed(reader, choice("Half of an", None), last, {"usage": USAGE, "choices": []})
    assert caught.value.transient and caught.value.usage["output_tokens"] > 0


@pytest.mark.parametrize("provider", FAMILY)
def test_half_an_answer_in_a_whole_body_is_an_error_with_its_usage(provider):
    body = {"choices": [{"message": {"content": "Half"}, "finish_reason": "error"}], "usage": USAGE}
    for more in ({}, {"error": {"code": 502, "message": "upstream"}}):
        with pytest.raises(ModelUnavailable) as caught:
            whole(chat_reader(provider), {**body, **more})
        assert caught.value.usage["output_tokens"] == 4


@pytest.mark.parametrize("provider", FAMILY)
@pytest.mark.parametrize(("reason", "kind"), [("length", AnswerTruncated), ("content_filter", ModelRefused)])
def test_cut_and_filtered_are_the_same_for_all_of_the_family(provider, reason, kind):
    with pytest.raises(kind):
        streamed(chat_reader(provider), choice("Half", None), choice("", reason))


@pytest.mark.parametrize("provider", FAMILY)
def test_a_filter_that_leaves_no_message_is_a_refusal(provider):
    """Azure."""
    choice = {
        "index": 0,
        "finish_reason": "content_filter",
        "content_filter_results": {"hate": {"filtered": True}},
    }
    with pytest.raises(ModelRefused) as caught:
        whole(chat_reader(provider), {"choices": [choice], "usage": USAGE})
    assert caught.value.reason == "content_filter" and not caught.value.transient


def test_a_choice_with_neither_message_nor_end_is_malformed():
    with pytest.raises(ModelUnavailable, match="has no message"):
        whole(chat_reader("openai"), {"choices": [{"index": 0}]})


def gemini(reason, parts=(), **more):
    event = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason, **more}]}
    event["usageMetadata"] = {"promptTokenCount": 3}
    return GeminiReader("gemini", request_to("gemini"), None, "K"), event


def test_every_end_of_geminis_sdk_without_a_text_is_an_error_that_names_it():
    from google.genai import types

    for reason in [*(f.value for f in types.FinishReason), "WHATEVER_COMES_NEXT"]:
        if reason == "STOP":
            continue
        for read in (whole, streamed):
            reader, event = gemini(reason)
            with pytest.raises(ModelError) as caught:
                read(reader, event)
            named = (str(caught.value) + str(caught.value.details)).lower()
            assert reason.lower() in named or reason == "MAX_TOKENS", reason
            assert caught.value.usage is not None


@pytest.mark.parametrize("reason", ["MODEL_ARMOR", "SAFETY"])
def test_a_filter_that_strikes_behind_a_text_is_a_refusal(reason):
    reader, event = gemini(reason, [{"text": "Half"}])
    with pytest.raises(ModelRefused):
        streamed(reader, event)


@pytest.mark.parametrize("reason", ["TOO_MANY_TOOL_CALLS", "IMAGE_OTHER", "NO_IMAGE", "OTHER"])
def test_what_gemini_gave_up_is_no_answer_whatever_came_before(reason):
    reader, event = gemini(reason, [{"text": "Half"}])
    with pytest.raises(ModelUnavailable, match=reason):
        whole(reader, event)


def responses(**more):
    text = [{"type": "message", "content": [{"type": "output_text", "text": "Half"}]}]
    body = {"id": "r", "output": text, "usage": {"input_tokens": 5, "output_tokens": 2}, **more}
    return ResponsesReader("openai", request_to("openai"), None, "K"), body


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, AnswerTruncated),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, ModelRefused),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_messages"}}, ModelUnavailable),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, ModelUnavailable),
        ({"status": "incomplete", "incomplete_details": {"reason": "something_new"}}, ModelUnavailable),
        ({"status": "incomplete", "incomplete_details": None}, AnswerTruncated),
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, ModelUnavailable),
        ({"status": "cancelled"}, ModelUnavailable),
        ({"status": "in_progress"}, ModelUnavailable),
        ({"status": "queued"}, ModelUnavailable),
    ],
)
def test_a_response_that_is_not_completed_is_no_answer(state, kind):
    reader, body = responses(**state)
    with pytest.raises(kind) as caught:
        whole(reader, body)
    assert caught.value.usage["output_tokens"] == 2
    reader, body = responses(**state)
    with pytest.raises(kind) as caught:
        kind_of_event = "response.failed" if state.get("error") else "response.incomplete"
        streamed(reader, {"type": kind_of_event, "response": body})
    assert caught.value.usage["output_tokens"] == 2


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("pause_turn", ModelUnavailable),
        ("refusal", ModelRefused),
        ("max_tokens", AnswerTruncated),
        ("model_context_window_exceeded", AnswerTruncated),
    ],
)
def test_a_message_that_stopped_for_another_reason_is_no_answer(reason, kind):
    body = {"content": [{"type": "text", "text": "Half"}], "stop_reason": reason, "usage": {"output_tokens": 2}}
    with pytest.raises(kind):
        whole(MessagesReader("anthropic", request_to("anthropic"), None, "K"), body)


def test_every_end_that_a_vendors_sdk_knows_is_in_the_table():
    from typing import get_args

    from anthropic.types import StopReason
    from google.genai import types
    from openai.types.chat.chat_completion import Choice

    ends = [*get_args(StopReason), *get_args(Choice.__annotations__["finish_reason"])]
    unspecific = {"FINISH_REASON_UNSPECIFIED", "CONTINUATION"}
    ends += [f.value for f in types.FinishReason if f.value not in unspecific]
    assert [end for end in ends if end.lower() not in ENDS] == []
    assert (end_of("STOP"), end_of("Brand_New")) == ("stop", "brand_new")


def response(text="", **more):
    return ChatResponse(text, Usage(input_tokens=3, output_tokens=5, calls=1), "m", **more)


EMPTY = [
    "",
    " \n",
    "<think>hm, 3 of 4</think>",
    "<THINKING>hm</THINKING>\n",
    "<think>never closed",
    "a template opened it</think>  ",
    "<|channel|>analysis<|message|>hm<|end|>",
]


@pytest.mark.parametrize("text", EMPTY)
def test_an_answer_of_nothing_but_thoughts_is_no_answer(text):
    with pytest.raises(AnswerEmpty) as caught:
        check_not_empty(response(text), request_to("ollama"))
    assert caught.value.transient and caught.value.usage["output_tokens"] == 5


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "<think>hm</think> NONE",
        "I <think> so",
        "<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>yes",
    ],
)
def test_an_answer_behind_thoughts_is_one(text):
    check_not_empty(response(text), request_to("ollama"))


def test_a_tool_that_nobody_offered_is_no_answer_and_one_that_was_is():
    called = response("Let me look.", tool_calls=(ToolCall("c", "search", {}),), finish="tool_calls")
    with pytest.raises(AnswerEmpty, match=r"\(search\), and none were offered"):
        check_not_empty(called, request_to("openai"))
    check_not_empty(called, request_to("openai", tools=(Tool("search"),)))
