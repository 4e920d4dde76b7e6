"""`--online`: the cheapest question, once, within its time; the key in its own header and nowhere else (P10)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.llm.credentials.probe import probe
from po_jupyter.llm.specs import spec_of

pytestmark = pytest.mark.integration

KEY = "sk-probe-0123456789abcdef"


class Asked:
    def __init__(self) -> None:
        self.status, self.headers, self.requests = 200, {}, []
        self.hold = threading.Event()
        self.hold.set()


@pytest.fixture
def server() -> Iterator[tuple[str, Asked]]:
    asked = Asked()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.requests.append((self.path, dict(self.headers)))
            asked.hold.wait(10)
            self.send_response(asked.status)
            for name, value in asked.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None: ...

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    asked.hold.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


CASES = {
    "openai": ("OPENAI", "/v1", "/v1/models", "Authorization", f"Bearer {KEY}"),
    "anthropic": ("ANTHROPIC", "", "/v1/models?limit=1", "x-api-key", KEY),
    "gemini": ("GEMINI", "", "/v1beta/models?pageSize=1", "x-goog-api-key", KEY),
    "openrouter": ("OPENROUTER", "/api/v1", "/api/v1/key", "Authorization", f"Bearer {KEY}"),
}


@pytest.mark.parametrize("name", CASES)
async def test_each_provider_is_asked_in_its_own_way(name: str, server: tuple[str, Asked]) -> None:
    prefix, base, path, header, value = CASES[name]
    url, asked = server
    spec = spec_of(name)
    assert spec is not None
    good, words = await probe(spec, {f"{prefix}_API_KEY": KEY, f"{prefix}_BASE_URL": url + base})
    assert good
    assert "it answers" in words
    ((seen, headers),) = asked.requests
    assert seen == path
    assert KEY not in seen
    lowered = {k.lower(): v for k, v in headers.items()}
    assert lowered.pop(header.lower()) == value
    assert KEY not in str(lowered)


@pytest.mark.parametrize(
    ("status", "good", "said"),
    [(401, False, "refuses the key"), (403, False, "refuses the key"), (404, False, "no list of models"),
     (302, False, "sends elsewhere"), (429, True, "too many requests"), (500, False, "an error (500)")],
)  # fmt: skip
async def test_what_the_answer_means(status: int, good: bool, said: str, server: tuple[str, Asked]) -> None:
    """A redirect is not followed: a key goes to its own base URL only."""
    url, asked = server
    asked.status, asked.headers = status, {"Location": f"{url}/elsewhere"}
    spec = spec_of("openai")
    assert spec is not None
    found, words = await probe(spec, {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/v1"})
    assert (found, said in words) == (good, True), words
    assert KEY not in words
    assert len(asked.requests) == 1


async def test_silence_and_absence_end_in_time(server: tuple[str, Asked]) -> None:
    url, asked = server
    asked.hold.clear()
    spec = spec_of("openai")
    assert spec is not None
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{url}/v1"}
    assert await probe(spec, given, timeout=0.2) == (False, "no answer within 0.2 s")
    asked.hold.set()
    good, words = await probe(spec, {**given, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    assert not good
    assert "cannot be reached" in words
