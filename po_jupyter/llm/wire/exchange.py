"""One exchange with a model's server: the same for every wire format."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.wire.bodies import Answer, read_error, read_whole, sse
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.response_reader import Reading

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


class OneServer:
    """A provider for one server that speaks one API. A subclass says where a request goes, what is in it, and how
    the answer is read."""

    name: str
    key_env: ClassVar[str]  # the variable that messages name, unless told otherwise

    def __init__(
        self,
        endpoint: Endpoint,
        http: Http,
        *,
        name: str | None = None,
        key_env: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if name is not None:
            self.name = name
        self._key_env = self.key_env if key_env is None else key_env
        self._endpoint = endpoint
        self._http = http
        self._timeout = timeout

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """Where it goes."""
        raise NotImplementedError

    def body(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """What is sent. Raises ModelRefused for what the API cannot take."""
        raise NotImplementedError

    def reading(self, request: ChatRequest) -> Reading:
        """What reads the answer."""
        raise NotImplementedError

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """See `llm.chat.Provider`."""
        stream = on_text is not None
        return await exchange(
            self._http,
            self.target(request, stream=stream),
            self.body(request, stream=stream),
            self.reading(request),
            seconds=request.timeout or self._timeout,
            on_text=on_text,
        )

    async def aclose(self) -> None:
        """Nothing: the connections belong to `Http`."""


async def _drain(events: AsyncIterator[bytes]) -> None:
    """Read on to the end, which is a few bytes away: a connection whose answer was not read whole cannot be
    used again. A server that leaves it open is not waited for."""
    with contextlib.suppress(TimeoutError, ModelError):
        async with asyncio.timeout(_END_OF_STREAM):
            async for _ in events:
                pass
