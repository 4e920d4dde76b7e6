"""A server that does everything wrong: each fault ends in the right retry or typed error (P7, P10)."""

import gzip
import json
import logging
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import structlog

from po_jupyter.errors import ModelError, ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.wire import bodies, errors
from po_jupyter.llm.wire.http import Http
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration

KEY = "sk-fault-0a1b2c3d4e5f6a7b8c9d"
MODELS = {
    "chat": "openai:gpt-4o",
    "responses": "openai:gpt-5-mini",
    "messages": "anthropic:claude-sonnet-4-5",
    "gemini": "gemini:gemini-2.5-flash",
}


def now() -> datetime:
    """When the test runs: a date made at import is minutes old by then."""
    return datetime.now(UTC)


@pytest.fixture
def server():
    with ModelServer(key=KEY) as running:
        yield running


@pytest.fixture
async def providers(server):
    names = ("OPENAI", "ANTHROPIC", "GEMINI")
    environ = {f"{name}_API_KEY": KEY for name in names}
    environ |= {"OPENAI_BASE_URL": server.base_url}
    environ |= {f"{name}_BASE_URL": server.root_url for name in names[1:]}
    opened = Providers(environ)
    yield opened
    await opened.aclose()


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(params=["whole", "stream"])
def on_text(request):
    return (lambda piece: None) if request.param == "stream" else None


@pytest.fixture(autouse=True)
def no_key_anywhere(caplog):
    """P10: nothing that is logged during a test holds the key, at any level."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        yield
    assert KEY not in repr(lines) + caplog.text


def ask(model, **more):
    return ChatRequest(model, (Message("user", "hello there"),), **more)


async def called(providers, model, *, attempts=3, on_text=None, waits=None, **more):
    """One logical call, with its retries; an error is looked through for the key."""
    request = ask(model, **more)
    retry = CallRetry(max_attempts=attempts, initial_delay=0.001, max_delay=0.002)
    chat = JournaledChat(providers.get, MemoryJournal(), retry_after_cap=0.05)
    try:
        return await chat.scope("t").chat(
            request,
            retry=retry,
            on_text=on_text,
            on_wait=lambda *told: waits.append(told) if waits is not None else None,
        )
    except ModelError as error:
        look_through(error, request)
        raise


def look_through(error, request):
    chain, shown = error, ""
    while chain is not None:
        shown += repr(chain) + str(chain)
        chain = chain.__cause__
    assert KEY not in shown + json.dumps(error.to_json())
    assert error.details["provider"] == request.provider


def error_body(**more):
    return json.dumps({"error": {"message": f"broken with key {KEY}", "type": "x", **more}}).encode()


TRANSIENT_STATUS = [408, 409, 425, 500, 502, 503, 504, 529, 599]
PERMANENT_STATUS = [400, 401, 402, 403, 404, 405, 410, 413, 415, 422]


@pytest.mark.parametrize("status", TRANSIENT_STATUS)
async def test_a_status_that_passes_is_tried_again(server, providers, model, on_text, status):
    """P7: until it works, and each attempt is told."""
    server.enqueue(Reply(status=status, body=error_body()), Reply(status=status, body=error_body()))
    waits = []
    response = await called(providers, model, on_text=on_text, waits=waits)
    assert response.text == "echo: hello there"
    assert len(server.requests) == 3
    assert [attempt for attempt, _, _ in waits] == [1, 2]
    assert all(isinstance(error, ModelUnavailable) for _, _, error in waits)


@pytest.mark.parametrize("status", PERMANENT_STATUS)
async def test_a_status_that_stays_is_not_tried_again(server, providers, model, on_text, status):
    server.reply = Reply(status=status, body=error_body(code="model_not_found"))
    with pytest.raises((ModelRefused, ModelKeyError)) as caught:
        await called(providers, model, on_text=on_text)
    assert isinstance(caught.value, ModelKeyError) == (status in (401, 403))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        (lambda: {"retry-after": format_datetime(now() + timedelta(hours=1), usegmt=True)}, 3600),
        (lambda: {"retry-after": format_datetime(now() - timedelta(hours=1), usegmt=True)}, 0.0),
        (lambda: {"retry-after": (now() + timedelta(hours=1)).strftime("%A, %d-%b-%y %H:%M:%S GMT")}, 3600),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
async def test_a_429_with_each_form_of_retry_after(server, providers, model, headers, seconds):
    """P7: the wait is read, honoured up to the cap (here 0.05 s), and told."""
    server.enqueue(Reply(status=429, headers=headers() if callable(headers) else headers, body=error_body()))
    waits = []
    response = await called(providers, model, waits=waits)
    assert response.text == "echo: hello there"
    ((_, delay, error),) = waits
    assert isinstance(error, ModelRateLimited)
    assert error.retry_after == (pytest.approx(seconds, abs=30) if seconds == 3600 else seconds)
    assert delay <= 0.056
    assert seconds is None or delay >= min(seconds, 0.05)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "advice", "kind", "sent"),
    [(500, "false", ModelRefused, 1), (429, "false", ModelRefused, 1), (400, "true", ModelUnavailable, 3)],
)
async def test_the_servers_own_advice_wins(server, providers, status, advice, kind, sent):
    server.reply = Reply(status=status, headers={"x-should-retry": advice}, body=error_body())
    with pytest.raises(kind):
        await called(providers, "openai:gpt-4o")
    assert len(server.requests) == sent


def gzipped(data, *, cut=None):
    packed = gzip.compress(data, 9)
    return packed[:cut]


BOMB = gzip.compress(b"\0" * 300_000_000, 1)
BROKEN = {
    "nothing at all": (Reply(cut=0), ModelUnavailable),
    "a cut head": (Reply(cut=20), ModelUnavailable),
    "a cut body": (Reply("many words of an answer", cut=180), ModelUnavailable),
    "truncated JSON": (Reply(body=b'{"choices": [{"message": {"con'), ModelUnavailable),
    "an empty body": (Reply(body=b""), ModelUnavailable),
    "a list": (Reply(body=b"[]"), ModelUnavailable),
    "null": (Reply(body=b"null"), ModelUnavailable),
    "an empty object": (Reply(body=b"{}"), ModelUnavailable),
    "wrong types": (
        Reply(body=b'{"choices": 3, "output": "x", "content": 7, "candidates": {}}'),
        ModelUnavailable,
    ),
    "deep nesting": (Reply(body=b"[" * 200_000), ModelUnavailable),
    "a web page": (Reply(body=b"<html>Sign in</html>", content_type="text/html"), ModelRefused),
    "plain text": (Reply(body=b"Bad gateway", content_type="text/plain"), ModelUnavailable),
    "an image": (Reply(body=b"\x89PNG\r\n", content_type="image/png"), ModelUnavailable),
    "invalid UTF-8": (Reply(body=b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'), ModelUnavailable),
    "invalid UTF-8 in a stream": (
        Reply(body=b'data: {"text": "\xff\xfe"}\n\n', content_type="text/event-stream"),
        ModelUnavailable,
    ),
    "no JSON in a stream": (Reply(body=b"data: {oops\n\n", content_type="text/event-stream"), ModelUnavailable),
    "an empty stream": (Reply(body=b": hi\n\n", content_type="text/event-stream"), ModelUnavailable),
    "100 MB": (Reply(body=b'{"x": "' + b"x" * 100_000_000 + b'"}'), ModelRefused),
    "100 MB in one line of a stream": (
        Reply(body=b"data: " + b"x" * 100_000_000, content_type="text/event-stream"),
        ModelRefused,
    ),
    "a gzip bomb": (Reply(body=BOMB, headers={"content-encoding": "gzip"}), ModelRefused),
    "a deflate bomb": (
        Reply(body=zlib.compress(b"\0" * 300_000_000, 1), headers={"content-encoding": "deflate"}),
        ModelRefused,
    ),
    "cut gzip": (
        Reply(body=gzipped(b'{"x": "' + bytes(range(256)) * 99, cut=300), headers={"content-encoding": "gzip"}),
        ModelUnavailable,
    ),
    "damaged gzip": (
        Reply(body=b"\x1f\x8bnot gzip at all", headers={"content-encoding": "gzip"}),
        ModelUnavailable,
    ),
    "an encoding nobody asked for": (Reply(body=b"xxxx", headers={"content-encoding": "br"}), ModelRefused),
    "twice gzip": (Reply(body=b"xxxx", headers={"content-encoding": "gzip, gzip"}), ModelRefused),
    "a redirect": (Reply(status=302, headers={"location": "http://127.0.0.1:9/"}, body=b""), ModelRefused),
    "a success that is none": (Reply(status=204, body=b""), ModelRefused),
    "an error bomb": (Reply(status=500, body=BOMB, headers={"content-encoding": "gzip"}), ModelUnavailable),
    "an error of 100 MB": (Reply(status=500, body=b"x" * 100_000_000), ModelUnavailable),
    "an error inside a success": (Reply(body=b'{"error": {"message": "busy", "code": 503}}'), ModelUnavailable),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_answer_is_the_right_error_at_every_api(server, providers, model, on_text, fault):
    reply, kind = BROKEN[fault]
    server.reply = reply
    with pytest.raises(kind) as caught:
        await called(providers, model, attempts=2, on_text=on_text)
    assert len(server.requests) == (2 if caught.value.transient else 1), (
        "at most max_attempts, and only if it helps"
    )


async def test_a_bomb_is_not_inflated_beyond_the_bound(server, providers, monkeypatch):
    inflated = []
    real = zlib.decompressobj

    class Counting:
        def __init__(self, wbits):
            self._real = real(wbits)

        def decompress(self, data, most):
            piece = self._real.decompress(data, most)
            inflated.append(len(piece))
            return piece

        eof = property(lambda self: self._real.eof)
        unconsumed_tail = property(lambda self: self._real.unconsumed_tail)

    monkeypatch.setattr(bodies.zlib, "decompressobj", Counting)
    server.reply = BROKEN["a gzip bomb"][0]
    with pytest.raises(ModelRefused, match="larger"):
        await called(providers, MODELS["chat"])
    assert max(inflated) <= 256 * 1024
    assert sum(inflated) < bodies.MAX_ANSWER + 1024 * 1024


async def test_a_gzip_that_is_none_of_these_is_read(server, providers, model, on_text):
    """A proxy that compresses unasked breaks nothing."""
    with ModelServer(key=KEY) as plain:
        named = {"OPENAI_BASE_URL": plain.base_url, "ANTHROPIC_BASE_URL": plain.root_url}
        named |= {"GEMINI_BASE_URL": plain.root_url}
        other = Providers({**{f"{n}_API_KEY": KEY for n in ("OPENAI", "ANTHROPIC", "GEMINI")}, **named})
        seen = []
        plain.reply = lambda body, n: seen.append(body) or Reply()
        await called(other, model, on_text=on_text)
        await other.aclose()
    from po_jupyter.testing.model_server.apis import stream, streams, whole

    def answer(body, n):
        request = server.requests[-1]
        if streams(request):
            data = b"".join(part.split(b"\r\n", 1)[1] for part in stream(request, Reply(), {})[1:])
            data, kind = data.replace(b"\r\n0\r\n\r\n", b"").replace(b"\r\n", b""), "text/event-stream"
        else:
            data, kind = json.dumps(whole(request, Reply())).encode(), "application/json"
        return Reply(body=gzip.compress(data), headers={"content-encoding": "gzip"}, content_type=kind)

    server.reply = answer
    assert (await called(providers, model, on_text=on_text)).text == "echo: hello there"


async def test_slow_headers_end_in_a_timeout_and_another_try(server, providers, model, on_text):
    server.enqueue(Reply(latency=30))
    waits = []
    response = await called(providers, model, on_text=on_text, waits=waits, timeout=0.2)
    assert response.text == "echo: hello there"
    assert isinstance(waits[0][2], ModelUnavailable)


async def test_a_stalled_stream_ends_in_a_timeout_and_another_try(server, providers, model):
    server.enqueue(Reply("a b c", stall=30))
    waits, pieces = [], []
    response = await called(providers, model, on_text=pieces.append, waits=waits, timeout=0.2)
    assert response.text == "echo: hello there"
    assert "silent" in str(waits[0][2])


@pytest.mark.parametrize("cut", [300, 500, 700, 900])
async def test_a_cut_stream_is_tried_again_and_what_it_used_is_counted(server, providers, model, cut):
    """P12: tokens of a stream that broke were paid for; they are in the bill of the call that followed."""
    text = " ".join(f"word{n}" for n in range(60))
    server.enqueue(Reply(text, cut=cut))
    pieces, waits = [], []
    response = await called(providers, model, on_text=pieces.append, waits=waits)
    assert response.text == "echo: hello there"
    assert len(server.requests) == 2
    spent = waits[0][2].details.get("usage", {}).get("output_tokens", 0)
    assert bool(spent) == (len(pieces) > 3)
    assert response.usage.output_tokens == 3 + spent
    assert response.usage.calls == 1


@pytest.mark.parametrize("form", ["as it is", "in JSON", "in a stream", "split by spaces", "as another key"])
async def test_a_key_that_is_echoed_goes_no_further(server, providers, model, form):
    """P10."""
    other = "sk-proj-another0123456789"
    reply = {
        "as it is": Reply(status=400, body=f"no, {KEY}".encode(), content_type="text/plain"),
        "in JSON": Reply(status=401, body=error_body(code=KEY, type=KEY)),
        "in a stream": Reply(body=b"data: " + error_body() + b"\n\n", content_type="text/event-stream"),
        "split by spaces": Reply(status=400, headers={"x-request-id": "r"}, body=f"Bearer  {KEY}".encode()),
        "as another key": Reply(status=400, body=f'{{"error": "bad key {other}"}}'.encode()),
    }[form]
    server.reply = reply
    on_text = (lambda piece: None) if form == "in a stream" else None
    with pytest.raises(ModelError) as caught:
        await called(providers, model, attempts=1, on_text=on_text)
    assert other not in str(caught.value)


@pytest.mark.parametrize("attempts", [1, 2, 5])
@pytest.mark.parametrize("fault", ["500", "429", "cut", "garbage", "silence"])
async def test_one_call_makes_at_most_max_attempts_requests(server, providers, model, on_text, attempts, fault):
    """P7, counted at the server."""
    server.reply = {
        "500": Reply(status=500),
        "429": Reply(status=429, headers={"retry-after": "0"}),
        "cut": Reply("some words", cut=200),
        "garbage": Reply(body=b"}"),
        "silence": Reply(latency=30),
    }[fault]
    more = {"timeout": 0.05} if fault == "silence" else {}
    with pytest.raises(ModelError) as caught:
        await called(providers, model, attempts=attempts, on_text=on_text, **more)
    assert len(server.requests) == attempts
    assert caught.value.details["attempts"] == attempts


async def test_no_connection_is_left_open_by_a_fault(server):
    http = Http()
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
    opened = Providers(environ, http=http)
    for fault in ("a gzip bomb", "a cut body", "100 MB", "truncated JSON"):
        server.enqueue(BROKEN[fault][0])
        with pytest.raises(ModelError):
            await opened.get("openai:gpt-4o").chat(ask("openai:gpt-4o"))
    assert (await opened.get("openai:gpt-4o").chat(ask("openai:gpt-4o"))).text == "echo: hello there"
    (session,) = http._sessions.values()
    assert not session.connector._acquired
    await http.aclose()


LOST = {
    "silence": Reply("late", latency=30),
    "nothing at all": Reply(cut=0),
    "a cut body": Reply("many words of an answer", cut=180),
    "a gateway's timeout": Reply(status=504, body=b"upstream timed out"),
    "garbage": Reply(body=b"{not json", content_type="application/json"),
}
REFUSED = {
    "429": Reply(status=429, body=error_body()),
    "500": Reply(status=500, body=error_body()),
    "529": Reply(status=529, body=error_body()),
}


@pytest.mark.parametrize("fault", LOST)
async def test_a_request_whose_answer_is_lost_may_be_billed_and_the_next_try_has_its_own_intent(
    server, providers, model, fault
):
    """P3, G1: sent, and nobody knows what came of it."""
    server.enqueue(LOST[fault])
    journal, unknown = MemoryJournal(), []
    chat = JournaledChat(providers.get, journal, on_unknown=unknown.append)
    retry = CallRetry(initial_delay=0.001, max_delay=0.002)
    response = await chat.scope("t").chat(ask(model, timeout=0.3), retry=retry)
    assert response.usage.unknown == 0
    assert [r["kind"] for r in journal.records] == ["intent", "intent", "response"]
    assert len(unknown) == 1
    server.enqueue(LOST[fault])
    with pytest.raises(ModelError) as caught:
        await chat.scope("t", attempt=2).chat(ask(model, timeout=0.3), retry=CallRetry(max_attempts=1))
    assert caught.value.details["usage"]["unknown"] == 1
    assert caught.value.details["outcome"] == "unknown"


@pytest.mark.parametrize("fault", REFUSED)
async def test_a_request_that_was_refused_is_not_billed(server, providers, model, fault):
    """G1: an error status is an answer."""
    server.enqueue(REFUSED[fault])
    journal = MemoryJournal()
    chat = JournaledChat(providers.get, journal, retry_after_cap=0.01)
    await chat.scope("t").chat(ask(model), retry=CallRetry(initial_delay=0.001, max_delay=0.002))
    assert [r["kind"] for r in journal.records] == ["intent", "response"]


async def test_a_connection_that_was_never_made_is_not_billed(unused_tcp_port):
    """G1: nothing was sent."""
    opened = Providers({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"http://127.0.0.1:{unused_tcp_port}/v1"})
    with pytest.raises(ModelUnavailable) as caught:
        await opened.get("openai:gpt-4o").chat(ask("openai:gpt-4o"))
    assert not caught.value.may_be_billed
    await opened.aclose()


def test_a_refused_key_sends_to_the_store_of_keys():
    """P11, G16: a stored key is replaced without a restart, and the hint says so."""
    answer = bodies.HttpResponse(401, httpx.Headers(), b'{"error": {"message": "no"}}')
    refused = errors.error_from_response(
        answer, provider="openai", model="m", key="k", key_env="OPENAI_API_KEY"
    )
    assert "po keys set openai" in refused.hint and "OPENAI_API_KEY" in refused.hint
    assert "po stop" not in refused.hint
    assert errors.error_from_response(answer, provider="local", model="m", key=None).hint == ""
