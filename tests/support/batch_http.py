"""HTTP for batch clients without a connection: answers by method and path, and the requests that were sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from po_jupyter.llm.wire.bodies import HttpResponse
from po_jupyter.llm.wire.http import Target


class SentRequest(NamedTuple):
    """A request: its method, its path with the query, and its body."""

    method: str
    path: str
    body: bytes


class FakeHttp:
    """Answers each `METHOD /path` with what `answers` has for it: JSON, bytes, or (status, JSON). See `Http`."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = dict(answers)
        self.sent: list[SentRequest] = []

    def _answer(self, method: str, path: str) -> HttpResponse:
        found = self.answers[f"{method} {path}"]
        status, found = found if isinstance(found, tuple) else (200, found)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return HttpResponse(status, httpx.Headers(), body)

    async def fetch(
        self, target: Target, *, method: str = "GET", body: bytes | AsyncIterable[bytes] = b"", seconds: float
    ) -> HttpResponse:
        path = target.url.raw_path_qs
        content = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        self.sent.append(SentRequest(method, path, content))
        return self._answer(method, path)

    @asynccontextmanager
    async def download(self, target: Target, *, seconds: float) -> AsyncIterator[httpx.Response]:
        path = target.url.raw_path_qs
        self.sent.append(SentRequest("GET", path, b""))
        answer = self._answer("GET", path)
        yield httpx.Response(answer.status, content=_pieces(answer.body))


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    yield body
