"""One exchange with a model's server, the same for every wire format: send a body, read the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import HttpResponse, read_body, read_error
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject

DEFAULT_TIMEOUT = 60.0
_END_OF_STREAM = 0.2  # seconds
encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


async def exchange(
    http: Http, target: Target, body: object, reader: ResponseReader, *, seconds: float, on_text: OnText | None
) -> ChatResponse:
    """Send `body` (JSON, or its bytes) once and read the answer, streamed with `on_text`. Raises a ModelError."""
    raw = body if isinstance(body, bytes) else encode_json(body).encode("utf-8", "replace")
    try:
        if on_text is None:
            return reader.read_response(await http.post(target, raw, seconds=seconds))
        return await _stream(http, target, raw, reader, seconds, on_text)
    except ModelError as error:
        reader.annotate(error)
        raise


async def _stream(
    http: Http, target: Target, raw: bytes, reader: ResponseReader, seconds: float, on_text: OnText
) -> ChatResponse:
    async with http.stream(target, raw, seconds=seconds) as response:
        if response.status_code != 200:
            raise reader.error_from(await read_error(response))
        reader.headers = response.headers
        if any(kind in response.headers.get("content-type", "") for kind in ("json", "html")):
            # A server that does not stream, or none of that kind.
            whole = reader.read_response(HttpResponse(200, response.headers, await read_body(response)))
            on_text(whole.text)
            return whole
        events = reader.events(response)
        async for data in events:
            try:
                piece = reader.feed(data)
            except ModelError:
                await _read_to_end(events, reader.feed_after_error)  # the usage may come behind the error
                raise
            if piece:
                on_text(piece)
            if reader.ended:
                await _read_to_end(events)
                break
        if rest := reader.flush():
            on_text(rest)
        return reader.finish_stream()


class HttpProvider:
    """A provider for one server that speaks one API over HTTP.

    A subclass says where a request goes (`target`), what is in it (`body`) and how the answer is read (`reader`);
    retries, limits, the cache and the journal stand above it.

    name      the provider's name in model refs and messages; a class attribute, or an argument
    key_env   the variable that messages about the key name; a class attribute, or an argument
    endpoint  base URL and key
    http      the worker's connections
    timeout   seconds for a request that sets none
    """

    name: str
    key_env: str

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str | None = None,
        key_env: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """`name` and `key_env` replace those of the class."""
        if name is not None:
            self.name = name
        if key_env is not None:
            self.key_env = key_env
        self.endpoint = endpoint
        self.http = http
        self.timeout = timeout

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """The URL and the headers of a request."""
        raise NotImplementedError

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The JSON body of a request. Raises ModelRefused for a request that the API cannot take."""
        raise NotImplementedError

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A new reader for the answer to a request."""
        raise NotImplementedError

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        stream = on_text is not None
        return await exchange(
            self.http,
            self.target(request, stream=stream),
            self.body(request, stream=stream),
            self.reader(request),
            seconds=request.timeout or self.timeout,
            on_text=on_text,
        )

    async def aclose(self) -> None:
        """Close nothing: the connections belong to `Http`."""


async def _read_to_end(events: AsyncIterator[bytes], take: Callable[[bytes], None] = lambda data: None) -> None:
    """Read on to the end, which is a few bytes away: a connection whose answer was not read whole cannot be
    used again. A server that leaves it open is not waited for."""
    with contextlib.suppress(TimeoutError, ModelError):
        async with asyncio.timeout(_END_OF_STREAM):
            async for data in events:
                take(data)
