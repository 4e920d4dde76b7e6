"""Chat Completions against a real HTTP server: what it sends, what it reads, how it fails (B7, P7, P10)."""

import json
import socket

import aiohttp
import pytest

from po_jupyter.errors import (
    AnswerTruncated,
    ModelError,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.bounds import ROOM
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions, ChatReader, chat_body
from po_jupyter.llm.providers.compatible.family import OPENAI, QUIRKS, Quirks
from po_jupyter.llm.providers.openai.client import OpenAI
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration

KEY = "sk-secret-0123456789"
SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


def ask(text="hello there", model="openai:gpt-4o", **more):
    return ChatRequest(model, (Message("system", "Be short."), Message("user", text)), **more)


@pytest.fixture
def server():
    with ModelServer(key=KEY) as running:
        yield running


@pytest.fixture
async def http():
    opened = Http()
    yield opened
    await opened.aclose()


@pytest.fixture
def provider(server, http):
    return ChatCompletions(ProviderEndpoint(server.base_url, KEY), http)


async def test_a_plain_answer_with_usage_and_request_id(server, provider):
    response = await provider.chat(ask(temperature=0.2, max_tokens=50, stop=("END",)))
    assert response.text == "echo: hello there"
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.calls) == (4, 3, 1)
    assert response.usage.cost is None and not response.estimated
    assert (response.finish, response.request_id, response.model) == ("stop", "req-1", "gpt-4o")
    sent = server.requests[0].body
    assert sent["messages"][0] == {"role": "system", "content": "Be short."}
    assert (sent["model"], sent["temperature"], sent["max_tokens"], sent["stop"]) == (
        "gpt-4o",
        0.2,
        50,
        ["END"],
    )
    assert "stream" not in sent and "response_format" not in sent


async def test_a_streamed_answer_comes_in_pieces_and_whole(server, provider):
    """G11."""
    pieces = []
    response = await provider.chat(ask("a b c"), on_text=pieces.append)
    assert pieces == ["echo:", " a", " b", " c"]
    assert response.text == "echo: a b c" and response.usage.output_tokens == 4
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_a_schema_goes_out_as_a_json_schema(server, provider):
    response = await provider.chat(ask(schema=SCHEMA))
    assert json.loads(response.text) == {"label": "bug"}
    label = {"type": "string", "enum": ["bug", "praise"]}
    closed = {**SCHEMA, "properties": {"label": label}, "additionalProperties": False}
    sent = {"name": "answer", "schema": closed, "strict": True}
    assert server.requests[0].body["response_format"]["json_schema"] == sent


def test_a_server_of_ones_own_gets_the_schema_as_it_was_written():
    body = chat_body(ask(schema={"type": "array", "items": SCHEMA}), stream=False, quirks=Quirks())
    sent = {"name": "answer", "schema": {"type": "array", "items": SCHEMA}, "strict": False}
    assert body["response_format"]["json_schema"] == sent


@pytest.mark.parametrize("model", ["openai:gpt-4o", "openai:gpt-5-mini"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_list_at_the_root_comes_back_as_a_list(server, http, model, streamed):
    openai, pieces = OpenAI(ProviderEndpoint(server.base_url, KEY), http), []
    request = ask(model=model, schema={"type": "array", "items": {"enum": ["bug"]}})
    response = await openai.chat(request, on_text=pieces.append if streamed else None)
    assert json.loads(response.text) == ["bug"]
    assert not streamed or "".join(pieces) == response.text
    assert '"answer"' in json.dumps(server.requests[0].body)


def test_more_stops_than_the_api_takes_are_cut_here():
    stops = ("A", "B", "C", "D", "END")
    assert chat_body(ask(stop=stops), stream=False)["stop"] == ["A", "B", "C", "D"]
    reader = ChatReader("openai", ask(stop=stops), None, "", OPENAI)
    reader.feed(
        json.dumps({"choices": [{"delta": {"content": "one END two"}, "finish_reason": "stop"}]}).encode()
    )
    assert reader.finish_stream().text == "one "
    assert chat_body(ask(stop=stops), stream=False, quirks=QUIRKS["zai"])["stop"] == ["A"]


def test_a_temperature_that_is_too_hot_is_sent_as_the_highest():
    assert chat_body(ask(temperature=1.7), stream=False, quirks=QUIRKS["zai"])["temperature"] == 1.0
    assert chat_body(ask(temperature=1.7), stream=False)["temperature"] == 1.7


def test_a_request_of_system_messages_has_a_turn():
    body = chat_body(ChatRequest("openai:gpt-4o", (Message("system", "Why?"),)), stream=False)
    assert body["messages"] == [{"role": "user", "content": "Why?"}]


def test_json_mode_says_the_word_that_the_api_asks_for():
    body = chat_body(ask(json=True), stream=False)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {
        "role": "system",
        "content": "Be short.\n\nAnswer with JSON and nothing else.",
    }
    assert len(chat_body(ask("as JSON please", json=True), stream=False)["messages"]) == 2


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5", "o3", "o4-mini"])
def test_reasoning_models_get_no_temperature_and_their_own_name_for_the_limit(model):
    body = chat_body(ask(model=f"openai:{model}", temperature=0.1, max_tokens=9), stream=False)
    assert (
        "temperature" not in body
        and "max_tokens" not in body
        and body["max_completion_tokens"] == 9 + ROOM[None]
    )


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-chat-latest", "llama3.2"])
def test_other_models_get_both(model):
    body = chat_body(ask(model=f"openai:{model}", temperature=0.1, max_tokens=9), stream=False)
    assert (body["temperature"], body["max_tokens"]) == (0.1, 9)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}},
        {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 8},
        {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 8, "prompt_tokens_details": None},
    ],
)
async def test_cached_tokens_by_every_name(server, provider, usage):
    server.enqueue(Reply("x", usage=usage), Reply("x", usage=usage))
    assert (await provider.chat(ask())).usage.cached_tokens == 8
    assert (await provider.chat(ask(), on_text=lambda _: None)).usage.cached_tokens == 8


async def test_usage_that_the_server_does_not_send_is_estimated_and_says_so(server, provider):
    body = {"choices": [{"message": {"content": "x" * 40}, "finish_reason": "stop"}]}
    server.enqueue(Reply(body=json.dumps(body).encode()))
    response = await provider.chat(ask())
    assert response.estimated and response.usage.output_tokens == 10 and response.usage.input_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_cut_at_max_tokens_is_an_error_that_knows_what_it_cost(server, provider, stream):
    """P12."""
    server.enqueue(Reply("half of", finish="length"))
    with pytest.raises(AnswerTruncated) as caught:
        await provider.chat(ask(max_tokens=2), on_text=(lambda _: None) if stream else None)
    assert "max_tokens (2)" in str(caught.value)
    assert caught.value.details["usage"]["output_tokens"] == 2 and caught.value.details["request_id"] == "req-1"


STATUSES = [
    (400, ModelRefused),
    (401, ModelKeyError),
    (402, ModelRefused),
    (403, ModelKeyError),
    (404, ModelRefused),
    (408, ModelUnavailable),
    (409, ModelUnavailable),
    (413, ModelRefused),
    (422, ModelRefused),
    (429, ModelRateLimited),
    (500, ModelUnavailable),
    (502, ModelUnavailable),
    (503, ModelUnavailable),
    (504, ModelUnavailable),
    (529, ModelUnavailable),
    (302, ModelRefused),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_each_status_is_the_right_error_and_no_key_is_in_it(server, provider, status, expected, stream):
    """P10."""
    server.enqueue(Reply(status=status, error=f"no, Bearer {KEY} is bad"))
    with pytest.raises(expected) as caught:
        await provider.chat(ask(), on_text=(lambda _: None) if stream else None)
    error = caught.value
    assert type(error) is expected
    assert error.details["status"] == status and error.details["request_id"] == "req-1"
    assert error.transient is (expected in (ModelUnavailable, ModelRateLimited))
    assert KEY not in str(error) + repr(error) + json.dumps(error.to_json())
    assert len(server.requests) == 1


async def test_a_redirect_is_not_followed(server, provider):
    with ModelServer() as elsewhere:
        server.enqueue(Reply(status=307, headers={"location": elsewhere.base_url + "/chat/completions"}))
        with pytest.raises(ModelRefused, match="307"):
            await provider.chat(ask())
        assert elsewhere.requests == []


async def test_an_empty_account_is_not_worth_waiting_for(server, provider):
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    server.enqueue(Reply(status=429, body=json.dumps(body).encode()))
    with pytest.raises(ModelRefused, match="quota"):
        await provider.chat(ask())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
async def test_retry_after_in_every_form(server, provider, headers, seconds):
    server.enqueue(Reply(status=429, headers=headers))
    with pytest.raises(ModelRateLimited) as caught:
        await provider.chat(ask())
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(cut=0), ModelUnavailable),
        (Reply("many words of an answer", cut=250), ModelUnavailable),
        (Reply(body=b'{"choices": [{"mess'), ModelUnavailable),
        (Reply(body=b"<html>Sign in</html>", content_type="text/html"), ModelRefused),
        (Reply(body=b"[]"), ModelUnavailable),
        (Reply(body=b'{"choices": []}'), ModelUnavailable),
        (Reply(body=b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'), ModelUnavailable),
        (Reply(body=b'{"error": {"message": "overloaded", "code": 503}}'), ModelUnavailable),
        (Reply(body=b'{"error": {"message": "bad", "code": 400}}'), ModelRefused),
        (Reply(body=b"[" * 200_000), ModelUnavailable),
    ],
)
async def test_a_broken_answer_is_a_typed_error(server, provider, reply, expected, stream):
    server.enqueue(reply)
    with pytest.raises(expected):
        await provider.chat(ask(), on_text=(lambda _: None) if stream else None)


async def test_an_error_inside_a_stream_is_that_error(server, provider):
    text = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"error":{"message":"boom","code":429}}\n\n'
    server.enqueue(Reply(body=text, content_type="text/event-stream"))
    pieces = []
    with pytest.raises(ModelRateLimited, match="boom"):
        await provider.chat(ask(), on_text=pieces.append)
    assert pieces == ["a"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_streams_with_every_line_end_comments_and_no_space(server, provider, newline):
    lines = [
        b": hello",
        b"event: x",
        b'data:{"choices":[{"delta":{"content":"\xc3\xa9"},"finish_reason":"stop"}]}',
        b"",
        b"",
    ]
    server.enqueue(Reply(body=newline.join(lines), content_type="text/event-stream"))
    assert (await provider.chat(ask(), on_text=lambda _: None)).text == "é"


async def test_a_server_that_does_not_stream_is_read_whole(server, provider):
    body = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}
    server.enqueue(Reply(body=json.dumps(body).encode()))
    pieces = []
    assert (await provider.chat(ask(), on_text=pieces.append)).text == "whole"
    assert pieces == ["whole"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_server_ends_in_a_timeout(server, provider, stream):
    server.enqueue(Reply(latency=30))
    with pytest.raises(ModelUnavailable):
        await provider.chat(ask(timeout=0.1), on_text=(lambda _: None) if stream else None)


async def test_a_stream_that_stalls_ends_in_a_timeout(server, provider):
    server.enqueue(Reply("a b c", stall=30))
    pieces = []
    with pytest.raises(ModelUnavailable, match="silent"):
        await provider.chat(ask(timeout=0.2), on_text=pieces.append)


async def test_a_stream_may_take_longer_than_its_timeout_while_it_comes(server, provider):
    server.enqueue(Reply("a b c d e f", gap=0.06))
    response = await provider.chat(ask(timeout=0.2), on_text=lambda _: None)
    assert response.text == "a b c d e f" and response.seconds > 0.3


async def test_no_server_is_unavailable_and_names_the_place(http):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        provider = ChatCompletions(ProviderEndpoint(f"http://127.0.0.1:{port}/v1", KEY), http)
        with pytest.raises(ModelUnavailable, match=f"cannot connect to 127.0.0.1:{port}"):
            await provider.chat(ask())


async def test_an_answer_beyond_the_bound_is_not_read(server, provider, monkeypatch):
    monkeypatch.setattr("po_jupyter.llm.wire.bodies.MAX_ANSWER", 1000)
    server.enqueue(Reply("x" * 5000), Reply("x" * 5000))
    with pytest.raises(ModelRefused, match="larger"):
        await provider.chat(ask())
    with pytest.raises(ModelRefused, match="larger"):
        await provider.chat(ask(), on_text=lambda _: None)


def test_requests_have_one_hash_for_one_answer():
    one = ask(temperature=0.1, timeout=5)
    assert one.request_hash == ask(temperature=0.1, timeout=9).request_hash
    assert len(one.request_hash) == 32
    others = [
        ask(),
        ask("x", temperature=0.1),
        ask(temperature=0.1, schema=SCHEMA),
        ask(temperature=0.1, json=True),
    ]
    assert len({r.request_hash for r in [one, *others]}) == 5
    response = ChatResponse("x", model="m", request_id="r", estimated=True)
    assert ChatResponse.from_json(json.loads(json.dumps(response.to_json()))) == response


async def test_every_failure_is_a_model_error(server, provider):
    server.enqueue(Reply(status=418), Reply(status=599), Reply(status=201))
    for _ in range(3):
        with pytest.raises(ModelError):
            await provider.chat(ask())


class StaleOnce:
    """A session whose kept connection is found closed at the first try."""

    def __init__(self, real, cause):
        self.real, self.cause, self.tried = real, cause, 0

    async def request(self, *args, **kwargs):
        self.tried += 1
        if self.tried == 1:
            raise aiohttp.ClientOSError("Can not write request body") from self.cause
        return await self.real.request(*args, **kwargs)

    async def close(self):
        await self.real.close()


async def test_a_kept_connection_that_was_closed_costs_no_attempt(server, provider, http):
    """P7: the request never left, so it is sent over another connection; the server sees one."""
    target = (await provider._server("gpt-4o")).chat
    stale = StaleOnce(
        http._session(target, target.pool), ConnectionResetError("Cannot write to closing transport")
    )
    http._sessions[target.pool] = stale
    assert (await provider.chat(ask())).text == "echo: hello there"
    assert (stale.tried, len(server.requests)) == (2, 1)


async def test_a_request_that_may_have_left_is_not_sent_again(server, provider, http):
    """P7."""
    target = (await provider._server("gpt-4o")).chat
    stale = StaleOnce(http._session(target, target.pool), ConnectionResetError("Connection reset by peer"))
    http._sessions[target.pool] = stale
    with pytest.raises(ModelUnavailable):
        await provider.chat(ask())
    assert stale.tried == 1


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-mini"])
async def test_streams_leave_their_connection_for_the_next_call(server, http, model, monkeypatch):
    """Over the net; on this machine each stream has its own, because llama.cpp closes it without a word."""
    monkeypatch.setattr("po_jupyter.llm.wire.http._LOOPBACK", frozenset())
    provider = OpenAI(ProviderEndpoint(server.base_url, KEY), http)
    for _ in range(5):
        await provider.chat(ask(model=f"openai:{model}"), on_text=lambda _: None)
    assert server.open_connections() == 1
