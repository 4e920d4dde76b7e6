"""One exchange with a model's server: the same for every wire format."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from po_jupyter.errors import ModelError
from po_jupyter.llm.bodies import Answer, read_error, read_whole, sse
from po_jupyter.llm.chat import ChatResponse, OnText
from po_jupyter.llm.http import Http, Target
from po_jupyter.llm.providers.reading import Reading

DEFAULT_TIMEOUT = 60.0
_END_OF_STREAM = 0.2  # seconds
encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens and the key for it."""

    base_url: str
    key: str | None = field(default=None, repr=False)


Resolver: TypeAlias = Callable[[str], Awaitable[Endpoint]]


async def exchange(
    http: Http, target: Target, body: object, reading: Reading, *, seconds: float, on_text: OnText | None
) -> ChatResponse:
    """Send `body` once and read the answer, streamed when `on_text` is there. Raises a ModelError."""
    raw = encode(body).encode("utf-8", "replace")
    try:
        if on_text is None:
            return reading.read(await http.post(target, raw, seconds=seconds))
        async with http.stream(target, raw, seconds=seconds) as response:
            if response.status_code != 200:
                raise reading.failed(await read_error(response))
            reading.headers = response.headers
            if any(kind in response.headers.get("content-type", "") for kind in ("json", "html")):
                # A server that does not stream, or none of that kind.
                whole = reading.read(Answer(200, response.headers, await read_whole(response)))
                on_text(whole.text)
                return whole
            events = sse(response)
            async for data in events:
                if piece := reading.take(data):
                    on_text(piece)
                if reading.ended:
                    await _drain(events)
                    break
            if rest := reading.tail():
                on_text(rest)
            return reading.finish_stream()
    except ModelError as error:
        reading.mark(error)
        raise


async def _drain(events: AsyncIterator[bytes]) -> None:
    """Read on to the end, which is a few bytes away: a connection whose answer was not read whole cannot be
    used again. A server that leaves it open is not waited for."""
    with contextlib.suppress(TimeoutError, ModelError):
        async with asyncio.timeout(_END_OF_STREAM):
            async for _ in events:
                pass
