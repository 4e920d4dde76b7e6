"""A server on loopback in the place of every vendor: it answers from recordings, or asks the vendor and records.

worker ── OPENAI_BASE_URL=http://127.0.0.1:PORT/openai ──► this server ──► the recorded answer of the case
                                                                  live ──► api.openai.com, and then recorded
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx

from po_jupyter.prompt_tests.recordings import RecordedAnswer, request_digest, sealed
from po_jupyter.telemetry.redaction import Redactor

_UPSTREAM_TIMEOUT = 600.0  # seconds of an answer
_NOT_FORWARDED = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
# Of these the same request may have another answer in a moment, so they are none to keep.
_NOT_KEPT = frozenset({401, 403, 408, 409, 425, 429})


class ExchangeAnswer(NamedTuple):
    """A response as it came from a vendor, or goes to a worker."""

    status: int
    media: str
    body: bytes


class ExchangeServer:
    """The server. `vendors` are the true base URLs by provider, where it is `live`; otherwise nothing is asked."""

    def __init__(self, vendors: Mapping[str, str], *, live: bool, redactor: Redactor) -> None:
        """Listens at once, on a free port."""
        self._vendors, self._live, self._redactor = vendors, live, redactor
        self._lock = threading.Lock()
        self._case = ""
        self._remaining: dict[str, list[RecordedAnswer]] = {}
        # In the order of the requests; None: not kept, or not yet.
        self._recorded: list[RecordedAnswer | None] = []
        self._missing: list[str] = []
        self._http = httpx.Client(timeout=_UPSTREAM_TIMEOUT) if live else None
        exchange = self

        class Handler(_Handler):
            server_of_exchanges = exchange

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="po-exchanges", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address; a provider's is below it, by its name."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def begin(self, case: str, answers: list[RecordedAnswer]) -> None:
        """Answer the requests of a case from now on."""
        with self._lock:
            self._case, self._recorded, self._missing = case, [], []
            self._remaining = {}
            for answer in answers:
                self._remaining.setdefault(answer["request"], []).append(answer)

    def end(self) -> tuple[list[RecordedAnswer], list[str]]:
        """The answers that were recorded since `begin`, and the requests that no recorded answer was there for."""
        with self._lock:
            return [answer for answer in self._recorded if answer is not None], list(self._missing)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._http is not None:
            self._http.close()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ExchangeAnswer:
        """The answer to a request to a provider."""
        provider, _, rest = path.lstrip("/").partition("/")
        plain_path = f"/{rest.partition('?')[0]}"
        digest = request_digest(provider, method, plain_path, body)
        if not self._live:
            return self._replayed(digest, provider, plain_path, body)
        return self._asked(method, provider, rest, headers, body, digest)

    def _replayed(self, digest: str, provider: str, path: str, body: bytes) -> ExchangeAnswer:
        with self._lock:
            answers = self._remaining.get(digest)
            if answers:
                # Of a request that is sent several times each answer once; a try that was broken off is sent again.
                return _written(answers.pop(0) if len(answers) > 1 else answers[0])
            self._missing.append(f"{provider}:{_model_in(body, path)}")
        error = {
            "message": "no answer is recorded for this request",
            "type": "not_recorded",
            "code": "not_recorded",
        }
        return ExchangeAnswer(400, "application/json", json.dumps({"error": error}).encode())

    def _asked(
        self, method: str, provider: str, rest: str, headers: Mapping[str, str], body: bytes, digest: str
    ) -> ExchangeAnswer:
        base = self._vendors.get(provider)
        if base is None or self._http is None:
            return ExchangeAnswer(404, "application/json", b'{"error": {"message": "no such provider"}}')
        # Votes send one request several times at once, and each is to have its own answer again.
        with self._lock:
            case, place, recorded = self._case, len(self._recorded), self._recorded
            recorded.append(None)
        forwarded = {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            response = self._http.request(
                method,
                f"{base.rstrip('/')}/{rest}",
                content=body,
                headers={**forwarded, "Accept-Encoding": "identity"},
            )
        except httpx.HTTPError as error:
            message = f"{provider} cannot be reached: {type(error).__name__}"
            return ExchangeAnswer(502, "application/json", json.dumps({"error": {"message": message}}).encode())
        media = response.headers.get("content-type", "application/json")
        answer = ExchangeAnswer(response.status_code, media, response.content)
        if response.status_code < 500 and response.status_code not in _NOT_KEPT:
            kept = {
                "case": case, "request": digest, "provider": provider, "path": f"/{rest.partition('?')[0]}",
                "status": answer.status, "type": answer.media, "body": _value(answer),
            }  # fmt: skip
            recorded[place] = sealed(kept, self._redactor)
        return answer


class _Handler(BaseHTTPRequestHandler):
    server_of_exchanges: ExchangeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        answer = self.server_of_exchanges.answer(self.command, self.path, dict(self.headers.items()), body)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = _respond

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked is in the run."""


def _written(answer: RecordedAnswer) -> ExchangeAnswer:
    body = answer["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    return ExchangeAnswer(answer["status"], answer["type"], text.encode("utf-8", "surrogatepass"))


def _value(answer: ExchangeAnswer) -> Any:
    text = answer.body.decode("utf-8", "replace")
    if "json" not in answer.media:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _model_in(body: bytes, path: str) -> str:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    model = value.get("model") if isinstance(value, dict) else None
    return str(model or path.rpartition("/")[2].partition(":")[0])[:100]
