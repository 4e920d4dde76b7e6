"""The HTTP client for models: httpx's requests and responses over aiohttp's transport, one `Http` for each worker.

Why this transport: httpx's own pool takes 9 to 10 ms of CPU a call at 100 in flight; this takes 0.2 ms. And why
the transport without `httpx.AsyncClient` around it: what the client adds is cookies, redirects, authentication
flows and a log line with the URL. None of it is wanted here, and it costs a quarter of a call's CPU.

Time limits: 10 s to connect; then the request's own limit for every silence of the server. A plain answer must
also be complete within it, a streamed one within ten times that, so that a server which drips one byte a minute
holds nobody for ever. Bodies are bounded (`llm.wire.bodies`), redirects are not followed: a key goes to its own base
URL only.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.wire.bodies import HttpResponse, read_body
from po_jupyter.llm.wire.proxies import ProxySetting, network_problems, proxy_for
from po_jupyter.telemetry.correlation import TO_MODELS, request_id

CONNECT_TIMEOUT = 10.0
STREAM_FACTOR = 10.0
_SET_RIGHT = "Set it right where the orchestrator starts, then: po stop, po start."
_CERTIFICATE = "where a proxy of one's own reads along, SSL_CERT_FILE names its certificate"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Pool(NamedTuple):
    """The key of a pool of connections: they may serve one another's requests."""

    tls: bool
    proxy: str | None
    once: bool  # a connection is closed after its request


class Target:
    """The target of requests: a URL and the headers to send, made once and used for every call. Its repr has no key."""

    __slots__ = ("headers", "name", "pool", "proxy", "stream_pool", "url")

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        name: str,
        headers: Mapping[str, str] | None = None,
        key_header: str = "authorization",
    ) -> None:
        """`name` is for messages. The key goes into `key_header`, as a bearer token when that is `authorization`."""
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
            sent[key_header] = f"Bearer {key}" if key_header == "authorization" else key
        self.headers = httpx.Headers(sent)
        self.proxy: ProxySetting | None = proxy_for(url)
        tls, proxy = urlsplit(url).scheme == "https", self.proxy.url if self.proxy is not None else None
        self.pool = _Pool(tls, proxy, False)
        # llama.cpp closes a connection after a stream without a word, and the next request may be lost on it. On
        # loopback a new connection costs nothing.
        self.stream_pool = _Pool(tls, proxy, self.url.host in _LOOPBACK)

    def with_headers(self, headers: Mapping[str, str]) -> Target:
        """The same target with further headers, those of one request."""
        copy = object.__new__(Target)
        copy.url, copy.name, copy.proxy = self.url, self.name, self.proxy
        copy.pool, copy.stream_pool = self.pool, self.stream_pool
        copy.headers = self.headers.copy()
        copy.headers.update(headers)
        return copy

    def __repr__(self) -> str:
        """Name and URL, without the headers: one of them holds the key."""
        return f"Target({self.name!r}, {str(self.url)!r})"


class Http:
    """The connections of one worker. Use it on one event loop; `aclose()` ends it."""

    def __init__(self, *, max_connections: int = 0, keepalive: float = 30.0) -> None:
        """`keepalive` is in seconds. No limit of connections (0): the caller's concurrency is the limit."""
        self._max = max_connections
        self._keepalive = keepalive
        self._transports: dict[_Pool, AiohttpTransport] = {}

    def _transport(self, target: Target, pool: _Pool) -> AiohttpTransport:
        """The connections of a pool. Raises ModelRefused when the environment has no usable proxy or certificates."""
        transport = self._transports.get(pool)
        if transport is None:
            if problem := next(network_problems(str(target.url)), None):
                raise ModelRefused(f"{target.name}: {problem}", hint=_SET_RIGHT)
            tls, proxy, once = pool
            # Loading the certificate store takes 20 ms: plain http gets a context that trusts nobody.
            context = httpx.create_ssl_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

            def session() -> aiohttp.ClientSession:
                return aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        limit=self._max,
                        keepalive_timeout=None if once else self._keepalive,
                        force_close=once,
                        ssl=context,
                        ttl_dns_cache=60,
                    ),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,  # proxies are resolved by us; aiohttp would read ~/.netrc as well
                )

            transport = AiohttpTransport(
                verify=context, trust_env=False, client=session, proxy=httpx.Proxy(proxy) if proxy else None
            )
            self._transports[pool] = transport
        return transport

    async def post(self, target: Target, body: bytes, *, seconds: float) -> HttpResponse:
        """Post and read the whole answer, whatever its status. Raises ModelUnavailable."""
        try:
            async with asyncio.timeout(seconds):
                async with self._send(target, target.pool, body, seconds) as response:
                    return HttpResponse(response.status_code, response.headers, await read_body(response))
        except TimeoutError:
            raise _unknown_outcome(f"{target.name}: no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def stream(self, target: Target, body: bytes, *, seconds: float) -> AsyncIterator[httpx.Response]:
        """Post and yield the response while its body arrives. Raises ModelUnavailable, also inside the block."""
        limit = seconds * STREAM_FACTOR
        try:
            async with (
                asyncio.timeout(limit),
                self._send(target, target.stream_pool, body, seconds) as response,
            ):
                yield response
        except TimeoutError:
            raise _unknown_outcome(f"{target.name}: the answer did not end within {limit:g} s") from None

    async def fetch(
        self, target: Target, *, method: str = "GET", body: bytes | AsyncIterable[bytes] = b"", seconds: float
    ) -> HttpResponse:
        """Send with any method and read the whole response, whatever its status.

        A large body may come in pieces; the target's headers then say its size.

        Raises ModelUnavailable.
        """
        try:
            async with asyncio.timeout(seconds):
                async with self._send(target, target.pool, body, seconds, method) as response:
                    return HttpResponse(response.status_code, response.headers, await read_body(response))
        except TimeoutError:
            raise ModelUnavailable(f"{target.name}: no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def download(self, target: Target, *, seconds: float) -> AsyncIterator[httpx.Response]:
        """Get, and yield the response while its body arrives, however long that takes: `seconds` limits each
        silence. Raises ModelUnavailable, also inside the block."""
        async with self._send(target, target.pool, b"", seconds, "GET") as response:
            yield response

    @asynccontextmanager
    async def _send(
        self,
        target: Target,
        pool: _Pool,
        body: bytes | AsyncIterable[bytes],
        seconds: float,
        method: str = "POST",
    ) -> AsyncIterator[httpx.Response]:
        headers = target.headers
        if correlation := request_id.get():
            headers = headers.copy()
            headers[TO_MODELS] = correlation
        request = httpx.Request(
            method,
            target.url,
            headers=headers,
            content=body,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT, "read": seconds, "pool": None, "write": None}},
        )
        request.headers.encoding = "ascii"  # stated, or httpx would detect it anew for each header
        try:
            transport = self._transport(target, pool)
            try:
                response = await transport.handle_async_request(request)
            except httpx.HTTPError as error:
                if not _never_sent(error):
                    raise
                response = await transport.handle_async_request(request)  # on another connection
            response.headers.encoding = "latin-1"
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            text = f"{target.name}: {_reason(error, target)}"
            if _never_connected(error) or _never_sent(error):
                raise ModelUnavailable(text) from error
            raise _unknown_outcome(text) from error

    async def aclose(self) -> None:
        """Close every connection."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()


def _never_connected(error: httpx.HTTPError) -> bool:
    """True when there was no connection. The transport's own classes do not tell: to it a server that hangs up is a
    timeout of connecting."""
    cause = error.__cause__
    if cause is None:
        return isinstance(error, httpx.ConnectTimeout)
    return isinstance(
        cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError
    )


def _unknown_outcome(text: str) -> ModelUnavailable:
    """The error of a request that was sent and whose outcome at the server is unknown."""
    return ModelUnavailable(text, outcome="unknown")


def _never_sent(error: BaseException | None) -> bool:
    """True when a kept connection turned out to be closed before the request was written: nothing has arrived at
    the server, so sending it again is not a second request."""
    while error is not None:
        if isinstance(error, ConnectionResetError) and "closing transport" in str(error):
            return True
        error = error.__cause__
    return False


def _reason(error: httpx.HTTPError, target: Target) -> str:
    """The failure of a request as text for people. What a proxy does is not said of the model's host."""
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"{target.proxy} refused with {cause.status} {cause.message}".rstrip()
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        reason = getattr(cause.certificate_error, "verify_message", "") or "it cannot be verified"
        return f"the certificate of {target.url.host} is not trusted here ({reason}); {_CERTIFICATE}"
    if isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError):
        return "the connection was closed before the answer was complete"
    if isinstance(cause, aiohttp.SocketTimeoutError):
        return "the server was silent for too long"
    host = str(target.proxy) if target.proxy is not None else target.url.host
    if isinstance(cause, aiohttp.ServerTimeoutError) or (
        isinstance(error, httpx.ConnectTimeout) and cause is None
    ):
        return f"no connection to {host} within {CONNECT_TIMEOUT:g} s"
    if isinstance(cause, aiohttp.ClientConnectorError):
        place = host if target.proxy is not None else f"{host}:{target.url.port or ''}"
        return f"cannot connect to {place} ({cause.strerror or 'failed'})"
    return f"the request failed ({type(cause or error).__name__})"
