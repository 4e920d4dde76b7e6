"""The reader of a response: every end of an answer is a response or the right error, in any wire format."""

import json

import httpx
import pytest

from po_jupyter.errors import (
    AnswerTruncated,
    AnswerUnreadable,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import usage_from

KEY = "sk-secret-0123456789"


class ToyReader(ResponseReader):
    """A wire format whose bodies and events are the reader's own fields."""

    base_url_hint = "Look at the URL."

    def read_body(self, body):
        return self.read_event(body)

    def read_event(self, event):
        self.finish = event.get("finish", self.finish)
        self.refusal += event.get("refusal", "")
        if "usage" in event:
            self.usage = usage_from(*event["usage"], reasoning=event.get("reasoning", 0))
        for call in event.get("calls", ()):
            self.add_tool_call(call.pop("index", 0), **call)
        return event.get("text", "")


def reader(**more):
    return ToyReader("toy", ChatRequest("toy:m", (Message("user", "hello there"),), **more), KEY, "TOY_KEY")


def response_of(body, status=200, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, httpx.Headers(named), raw)


def read(body, status=200, **headers):
    return reader().read_response(response_of(body, status, **headers))


def stream(toy, *events):
    shown = [toy.feed(json.dumps(event).encode()) for event in events]
    return "".join(shown) + toy.flush()


def test_a_whole_body_is_a_response():
    answer = read({"text": "hi", "usage": [3, 2], "finish": "stop"}, x_request_id="r-1")
    assert (answer.text, answer.finish, answer.model, answer.request_id) == ("hi", "stop", "m", "r-1")
    assert answer.usage == usage_from(3, 2) and not answer.estimated


def test_a_stream_is_the_same_response():
    toy = reader()
    assert stream(toy, {"text": "h"}, {"text": "i", "usage": [3, 2]}, {"finish": "stop"}) == "hi"
    answer = toy.finish_stream()
    assert (answer.text, answer.usage) == ("hi", usage_from(3, 2))


def test_usage_that_nobody_counted_is_estimated():
    answer = read({"text": "x" * 40})
    assert answer.estimated and answer.usage.output_tokens == 10 and answer.usage.input_tokens > 0
    assert not read({"text": "", "usage": [3, 0]}).estimated


def test_a_stream_that_breaks_is_transient_and_its_tokens_count():
    """P12."""
    toy = reader()
    stream(toy, {"text": "x" * 40})
    with pytest.raises(ModelUnavailable, match="broke off after 40 characters") as caught:
        toy.finish_stream()
    assert caught.value.outcome == "unknown" and caught.value.usage is None
    toy.annotate(caught.value)
    assert caught.value.usage["output_tokens"] == 10
    assert (caught.value.details["provider"], caught.value.model) == ("toy", "m")


def test_done_ends_a_stream_without_a_reason():
    toy = reader()
    stream(toy, {"text": "hi"})
    assert toy.feed(b" [DONE] ") == "" and toy.ended and toy.finish_stream().finish == "stop"


@pytest.mark.parametrize("data", [b"", b" ", b"\r"])
def test_data_with_nothing_is_a_sign_of_life(data):
    toy = reader()
    assert toy.feed(data) == "" and not toy.ended
    stream(toy, {"text": "hi", "finish": "stop"})
    assert toy.finish_stream().text == "hi"


def test_a_body_behind_a_byte_order_mark_is_read():
    assert read(b'\xef\xbb\xbf{"text": "hi"}').text == "hi"


def test_a_cut_answer_is_an_error_unless_it_may_be_cut():
    with pytest.raises(AnswerTruncated, match="the model's own limit") as caught:
        read({"text": "half", "usage": [3, 2], "finish": "length"})
    assert caught.value.usage["output_tokens"] == 2 and caught.value.details["sample"] == "half"
    with pytest.raises(AnswerTruncated, match=r"max_tokens \(9\)") as caught:
        toy = reader(max_tokens=9)
        toy.read_response(response_of({"usage": [3, 9], "reasoning": 9, "finish": "length"}))
    assert "All of it was reasoning (9 tokens)" in caught.value.hint
    toy = reader()
    toy.keep_cut_text = True
    assert toy.read_response(response_of({"text": "half", "finish": "length"})).finish == "length"


def test_a_refusal_is_an_error_with_its_words_and_without_the_key():
    """P10."""
    with pytest.raises(ModelRefused, match="toy refused: no") as caught:
        read({"refusal": f"no {KEY}"})
    assert caught.value.reason == "refusal" and KEY not in str(caught.value)
    with pytest.raises(ModelRefused, match="its content filter") as caught:
        read({"text": "begun", "finish": "refused"})
    assert caught.value.reason == "content_filter"
    assert read({"text": "yes", "refusal": "but"}).text == "yes"


def test_an_answer_that_was_given_up_is_worth_another_try():
    with pytest.raises(ModelUnavailable, match="gave up in the middle of its answer: broken") as caught:
        read({"text": "x", "finish": "failed", "refusal": "broken"})
    assert caught.value.transient and caught.value.usage


def test_tool_calls_come_whole_or_in_pieces_and_in_their_order():
    whole = {"index": 1, "id": "b", "name": "two", "arguments": {"x": 1}}
    pieces = [{"id": "a", "name": "one", "arguments": '{"y"'}], [{"arguments": ": 2}"}, whole]
    toy = reader()
    stream(toy, *({"calls": calls} for calls in pieces), {"finish": "stop"})
    answer = toy.finish_stream()
    assert answer.finish == "tool_calls" and toy.has_tool_calls
    assert [(c.id, c.name, dict(c.arguments)) for c in answer.tool_calls] == [
        ("a", "one", {"y": 2}),
        ("b", "two", {"x": 1}),
    ]
    (unnamed,) = read({"calls": [{"name": "one"}]}).tool_calls
    assert (unnamed.id, dict(unnamed.arguments)) == ("call_0", {})


@pytest.mark.parametrize(
    "call", [{"name": "one", "arguments": "{"}, {"name": "one", "arguments": "[1]"}, {"id": "a"}]
)
def test_arguments_that_are_no_object_are_unreadable(call):
    with pytest.raises(AnswerUnreadable):
        read({"calls": [call]})


def test_a_stop_sequence_that_the_api_does_not_know_ends_the_text():
    toy = reader(stop=("END",))
    toy.cutter = StopCutter(["END"])
    assert stream(toy, {"text": "one E"}, {"text": "ND two", "finish": "length"}) == "one "
    assert (toy.finish_stream().text, toy.finish) == ("one ", "length"), "cut here: it is no truncation"


@pytest.mark.parametrize(
    ("body", "status", "headers", "kind"),
    [
        ({"error": "x"}, 401, {}, ModelKeyError),
        ({"error": {"code": 429}}, 200, {}, ModelRateLimited),
        (b"not json", 200, {}, ModelUnavailable),
        (b"[]", 200, {}, ModelUnavailable),
        (b"<html>", 200, {"content_type": "text/html"}, ModelRefused),
    ],
)
def test_what_is_no_answer_is_the_right_error(body, status, headers, kind):
    with pytest.raises(kind) as caught:
        read(body, status, **headers)
    assert kind is not ModelRefused or caught.value.hint == "Look at the URL."


def test_an_event_that_is_no_json_or_an_error_ends_the_stream():
    with pytest.raises(ModelUnavailable, match="an event that is not JSON"):
        reader().feed(b"{")
    with pytest.raises(ModelUnavailable, match="busy"):
        reader().feed(b'{"error": {"type": "overloaded_error", "message": "busy"}}')
