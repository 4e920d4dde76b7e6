"""HTTP to models: httpx's requests and responses over aiohttp's transport, one `Http` for each worker process.

Why this transport: httpx's own pool takes 9 to 10 ms of CPU a call at 100 in flight; this takes 0.2 ms. And why
the transport without `httpx.AsyncClient` around it: what the client adds is cookies, redirects, authentication
flows and a log line with the URL. None of it is wanted here, and it costs a quarter of a call's CPU.

Time limits: 10 s to connect; then the request's own limit for every silence of the server. A plain answer must
also be complete within it, a streamed one within ten times that, so that a server which drips one byte a minute
holds nobody for ever. Bodies are bounded (64 MB an answer, 64 KB an error), redirects are not followed: a key
goes to its own base URL only.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.telemetry.correlation import TO_MODELS, request_id

CONNECT_TIMEOUT = 10.0
MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR = 64 * 1024
STREAM_FACTOR = 10.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Target:
    """A URL and the headers to post to it with, made once and used for every call. Its repr has no key."""

    __slots__ = ("headers", "name", "pool", "url")

    def __init__(
        self, url: str, *, key: str | None, name: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = httpx.URL(url)
        self.name = name
        sent = {
            "host": self.url.netloc.decode(),
            "content-type": "application/json",
            "accept-encoding": "identity",  # a compressed answer saves nothing here and could be a bomb
            "user-agent": "po_jupyter",
            **(headers or {}),
        }
        if key:
            sent["authorization"] = f"Bearer {key}"
        self.headers = httpx.Headers(sent)
        self.pool = _pool_of(url)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {str(self.url)!r})"


class Http:
    """The connections of one worker. Use it on one event loop; `aclose()` ends it."""

    def __init__(self, *, max_connections: int = 0, keepalive: float = 30.0) -> None:
        # No limit of connections here (0): who may call when is decided by the caller's concurrency.
        self._max = max_connections
        self._keepalive = keepalive
        self._transports: dict[tuple[bool, str | None], AiohttpTransport] = {}

    def _transport(self, pool: tuple[bool, str | None]) -> AiohttpTransport:
        transport = self._transports.get(pool)
        if transport is None:
            tls, proxy = pool
            # Loading the certificate store takes 20 ms: plain http gets a context that trusts nobody.
            context = httpx.create_ssl_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

            def session() -> aiohttp.ClientSession:
                return aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        limit=self._max, keepalive_timeout=self._keepalive, ssl=context, ttl_dns_cache=60
                    ),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,  # proxies are resolved by us; aiohttp would read ~/.netrc as well
                )

            transport = AiohttpTransport(
                verify=context, trust_env=False, client=session, proxy=httpx.Proxy(proxy) if proxy else None
            )
            self._transports[pool] = transport
        return transport

    async def post(self, target: Target, body: bytes, *, seconds: float) -> Answer:
        """Post and read the whole answer, whatever its status. Raises ModelUnavailable."""
        try:
            async with asyncio.timeout(seconds):
                async with self._send(target, body, seconds) as response:
                    return Answer(response.status_code, response.headers, await read_whole(response))
        except TimeoutError:
            raise ModelUnavailable(f"{target.name}: no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def stream(self, target: Target, body: bytes, *, seconds: float) -> AsyncIterator[httpx.Response]:
        """Post and hand over the response while it arrives. Raises ModelUnavailable, also from inside."""
        limit = seconds * STREAM_FACTOR
        try:
            async with asyncio.timeout(limit), self._send(target, body, seconds) as response:
                yield response
        except TimeoutError:
            raise ModelUnavailable(f"{target.name}: the answer did not end within {limit:g} s") from None

    @asynccontextmanager
    async def _send(self, target: Target, body: bytes, seconds: float) -> AsyncIterator[httpx.Response]:
        headers = target.headers
        if correlation := request_id.get():
            headers = headers.copy()
            headers[TO_MODELS] = correlation
        request = httpx.Request(
            "POST",
            target.url,
            headers=headers,
            content=body,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT, "read": seconds, "pool": None, "write": None}},
        )
        request.headers.encoding = "ascii"  # said, so that it is not found out anew for each header
        try:
            response = await self._transport(target.pool).handle_async_request(request)
            response.headers.encoding = "latin-1"
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"{target.name}: {_why(error, target)}") from error

    async def aclose(self) -> None:
        """Close every connection."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()


class Answer:
    """A response that was read to its end. `headers` are case-insensitive."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


async def read_error(response: httpx.Response) -> Answer:
    """The beginning of an error's body; what is beyond 64 KB is not read."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= MAX_ERROR:
            break
    return Answer(response.status_code, response.headers, body[:MAX_ERROR])


async def read_whole(response: httpx.Response) -> bytes:
    """The body, to its end. Raises ModelRefused when it is larger than an answer may be."""
    if response.status_code != 200:
        return (await read_error(response)).body
    chunks: list[bytes] = []
    size = 0
    pieces = response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()
    async for chunk in pieces:
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was not read")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def sse(response: httpx.Response) -> AsyncIterator[str]:
    """The `data` of each server-sent event of a response, in order (WHATWG HTML, "Server-sent events").

    An event that the end of the stream cuts off is not handed over. Raises ModelRefused when the stream is
    larger than an answer may be.
    """
    buffer = b""
    data: list[str] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was cut off")
        lines, buffer = _lines(buffer + chunk if buffer else chunk)
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode(errors="replace"))
            elif not line and data:
                yield "\n".join(data)
                data = []


def _lines(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The complete lines of a buffer, by any of the three line ends, and what is left of it."""
    if b"\r" not in buffer:
        *lines, rest = buffer.split(b"\n")
        return lines, rest
    # A carriage return at the very end ends a line already; a line feed that follows in the next chunk must
    # not end another one, so the line is held back, unless it is blank and closes an event anyway.
    held = buffer.endswith(b"\r") and not buffer.endswith(b"\r\r")
    buffer = (buffer[:-1] if held else buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, rest = buffer.split(b"\n")
    return lines, rest + b"\r" if held else rest


def as_json(body: bytes) -> object:
    """The decoded body, or None when it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _pool_of(url: str) -> tuple[bool, str | None]:
    """(TLS?, proxy) of a URL. The proxy comes from the environment, never for loopback."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = {} if host in _LOOPBACK else urllib.request.getproxies_environment()
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
    if not proxies or bypass(host, proxies):
        return parts.scheme == "https", None
    return parts.scheme == "https", proxies.get(parts.scheme) or proxies.get("all")


def _why(error: httpx.HTTPError, target: Target) -> str:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError):
        return "the connection was closed before the answer was complete"
    if isinstance(cause, aiohttp.SocketTimeoutError):
        return "the server was silent for too long"
    if isinstance(cause, aiohttp.ServerTimeoutError) or (
        isinstance(error, httpx.ConnectTimeout) and cause is None
    ):
        return f"no connection to {target.url.host} within {CONNECT_TIMEOUT:g} s"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"cannot connect to {target.url.host}:{target.url.port or ''} ({cause.strerror or 'failed'})"
    return f"the request failed ({type(cause or error).__name__})"
