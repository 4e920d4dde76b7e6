"""The server in the place of vendors: it asks and records, or answers from what was recorded, and never both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from po_jupyter.prompt_tests.exchange_server import ExchangeServer
from po_jupyter.prompt_tests.recordings import RecordedAnswer
from po_jupyter.telemetry.redaction import Redactor
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration
KEY = "sk-verysecretkey123"


@pytest.fixture
def vendor() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def live(vendor: ModelServer) -> ExchangeServer:
    return ExchangeServer({"openai": vendor.base_url}, live=True, redactor=Redactor([KEY]))


def ask(server: ExchangeServer, text: str, provider: str = "openai") -> httpx.Response:
    body = {"model": "gpt", "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(
        f"{server.url}/{provider}/chat/completions?key={KEY}", json=body, headers=headers, timeout=10
    )


def recorded(vendor: ModelServer, *texts: str) -> list[RecordedAnswer]:
    server = live(vendor)
    try:
        server.begin("one", [])
        for text in texts:
            ask(server, text)
        return server.end()[0]
    finally:
        server.close()


def test_what_was_recorded_is_answered_without_the_vendor(vendor: ModelServer) -> None:
    vendor.enqueue("first", "second")
    answers = recorded(vendor, "hello", "hello")
    assert [a["case"] for a in answers] == ["one", "one"]
    assert len(vendor.requests) == 2
    server = ExchangeServer({}, live=False, redactor=Redactor())
    try:
        server.begin("one", answers)
        texts = [ask(server, "hello").json()["choices"][0]["message"]["content"] for _ in range(3)]
        assert texts == ["first", "second", "second"], "each once, and a try that was broken off again"
        missing = ask(server, "another")
        assert (missing.status_code, missing.json()["error"]["code"]) == (400, "not_recorded")
        assert ask(server, "hello", "groq").status_code == 400
        assert server.end()[1] == ["openai:gpt", "groq:gpt"]
        server.begin("two", [])
        assert ask(server, "hello").status_code == 400, "another case has answers of its own"
    finally:
        server.close()
    assert len(vendor.requests) == 2


def test_answers_to_one_request_are_kept_in_the_order_of_the_requests(vendor: ModelServer) -> None:
    """They were kept as they came, so the votes of a row had each other's answers when they were run again."""
    vendor.enqueue(Reply("first", latency=0.5), "second")
    server = live(vendor)
    try:
        server.begin("one", [])
        with ThreadPoolExecutor() as threads:
            slow = threads.submit(ask, server, "hello")
            vendor.wait_for(1)
            quick = threads.submit(ask, server, "hello")
            assert (slow.result().status_code, quick.result().status_code) == (200, 200)
        texts = [answer["body"]["choices"][0]["message"]["content"] for answer in server.end()[0]]
    finally:
        server.close()
    assert texts == ["first", "second"]


def test_no_key_is_recorded(vendor: ModelServer) -> None:
    """Not that of the request, nor one that the model repeats."""
    vendor.enqueue(f"your key is {KEY}")
    text = json.dumps(recorded(vendor, "what is my key?"))
    assert KEY not in text and "********" in text
    assert "Bearer" not in text and "?key" not in text


def test_what_may_be_other_in_a_moment_is_not_kept(vendor: ModelServer) -> None:
    vendor.enqueue(Reply(status=429), Reply(status=500), Reply(status=401), Reply(status=400), "good")
    answers = recorded(vendor, "a", "b", "c", "d", "e")
    assert [answer["status"] for answer in answers] == [400, 200]


def test_a_vendor_that_is_away_is_said(vendor: ModelServer) -> None:
    server = ExchangeServer({"openai": "http://127.0.0.1:9"}, live=True, redactor=Redactor())
    try:
        server.begin("one", [])
        answer = ask(server, "hello")
        assert answer.status_code == 502 and "openai cannot be reached" in answer.text
        assert ask(server, "hello", "groq").status_code == 404
        assert server.end() == ([], [])
    finally:
        server.close()
