"""The HTTP client for models: aiohttp, one `Http` for each worker.

Why aiohttp, and nothing over it: of a call's processor time, its own share is the smallest of any client's (0.15 ms at
100 in flight, where httpx's pool takes 9 to 10 ms), and an httpx request and response around it cost as much again.

Time limits: 10 s to connect; then the request's own limit for every silence of the server. A plain answer must
also be complete within it, a streamed one within ten times that, so that a server which drips one byte a minute
holds nobody for ever. Bodies are bounded (`llm.wire.bodies`), redirects are not followed: a key goes to its own base
URL only.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.wire.bodies import HttpResponse, ResponseStream, read_body
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.proxies import ProxySetting, network_problems, proxy_for, trusted_authorities
from po_jupyter.platform.pauses import RunningTimeout
from po_jupyter.telemetry.correlation import TO_MODELS, request_id

CONNECT_TIMEOUT = 10.0
STREAM_FACTOR = 10.0
_CHUNK = 1 << 16
_SET_RIGHT = "Set it right where the orchestrator starts, then: po stop, po start."
_CERTIFICATE = "where a proxy of one's own reads along, SSL_CERT_FILE names its certificate"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Pool(NamedTuple):
    """The key of a pool of connections: they may serve one another's requests."""

    tls: bool
    proxy: str | None
    once: bool  # a connection is closed after its request


class _Proxy(NamedTuple):
    """A proxy as aiohttp wants it."""

    url: URL
    auth: aiohttp.BasicAuth | None


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
        self.url = URL(url)
        self.name = name
        self.headers = CIMultiDict[str](
            {
                "content-type": "application/json",
                "accept-encoding": "identity",  # a compressed answer saves nothing here and could be a bomb
                "user-agent": "po_jupyter",
            }
        )
        self.headers.update(headers or {})
        if key:
            self.headers[key_header] = f"Bearer {key}" if key_header == "authorization" else key
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
        self._sessions: dict[_Pool, aiohttp.ClientSession] = {}

    def _session(self, target: Target, pool: _Pool) -> aiohttp.ClientSession:
        """The connections of a pool. Raises ModelRefused when the environment has no usable proxy or certificates."""
        session = self._sessions.get(pool)
        if session is None:
            if problem := next(network_problems(str(target.url)), None):
                raise ModelRefused(f"{target.name}: {problem}", hint=_SET_RIGHT)
            # Loading the certificate store takes 20 ms: plain http gets a context that trusts nobody.
            context = trusted_authorities() if pool.tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            session = self._sessions[pool] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._max,
                    keepalive_timeout=None if pool.once else self._keepalive,
                    force_close=pool.once,
                    ssl=context,
                    ttl_dns_cache=60,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,  # proxies are resolved by us; aiohttp would read ~/.netrc as well
            )
        return session

    async def post(self, target: Target, body: bytes, *, seconds: float) -> HttpResponse:
        """Post and read the whole answer, whatever its status. Raises ModelUnavailable."""
        try:
            async with RunningTimeout(seconds):
                return await self._whole(target, "POST", body)
        except TimeoutError:
            raise _unknown_outcome(f"{target.name}: no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def stream(self, target: Target, body: bytes, *, seconds: float) -> AsyncIterator[ResponseStream]:
        """Post and yield the response while its body arrives. Raises ModelUnavailable, also inside the block."""
        limit = seconds * STREAM_FACTOR
        try:
            async with (
                RunningTimeout(limit),
                self._arriving(target, target.stream_pool, "POST", body, seconds) as response,
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
            async with RunningTimeout(seconds):
                return await self._whole(target, method, body)
        except TimeoutError:
            raise ModelUnavailable(f"{target.name}: no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def download(self, target: Target, *, seconds: float) -> AsyncIterator[ResponseStream]:
        """Get, and yield the response while its body arrives, however long that takes: `seconds` limits each
        silence. Raises ModelUnavailable, also inside the block."""
        async with self._arriving(target, target.pool, "GET", b"", seconds) as response:
            yield response

    @asynccontextmanager
    async def _arriving(
        self, target: Target, pool: _Pool, method: str, body: bytes, silence: float
    ) -> AsyncIterator[ResponseStream]:
        try:
            response = await self._send(target, pool, method, body, silence)
            try:
                yield _Arriving(response)
            finally:
                await response.__aexit__(None, None, None)
        except _FAILURES as error:
            raise _failure(error, target) from error

    async def _whole(self, target: Target, method: str, body: bytes | AsyncIterable[bytes]) -> HttpResponse:
        """The answer, read to its end. Whoever calls it bounds its time, so its silences need no clock."""
        # Without the two generators of `_arriving`: of a map's call they would be a twentieth.
        try:
            response = await self._send(target, target.pool, method, body, None)
            try:
                arriving = _Arriving(response)
                return HttpResponse(response.status, arriving.headers, await read_body(arriving))
            finally:
                await response.__aexit__(None, None, None)
        except _FAILURES as error:
            raise _failure(error, target) from error

    async def _send(
        self,
        target: Target,
        pool: _Pool,
        method: str,
        body: bytes | AsyncIterable[bytes],
        silence: float | None,
    ) -> aiohttp.ClientResponse:
        headers = target.headers
        if correlation := request_id.get():
            headers = headers.copy()
            headers[TO_MODELS] = correlation
        session, timeout = self._session(target, pool), _timeout(silence)
        proxy = _proxy(pool.proxy) if pool.proxy else None
        retried = False
        while True:
            try:
                return await session.request(
                    method,
                    target.url,
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                    compress=False,
                    timeout=timeout,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_auth=proxy.auth if proxy is not None else None,
                )
            except _FAILURES as error:
                if retried or not _never_sent(error):
                    raise
                retried = True  # on another connection

    async def aclose(self) -> None:
        """Close every connection."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()


class _Arriving:
    """A response whose body arrives. A `ResponseStream`."""

    __slots__ = ("_response", "headers", "status_code")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status_code = response.status
        self.headers = AnswerHeaders.of_raw(response.raw_headers)

    def aiter_raw(self) -> AsyncIterator[bytes]:
        return self._response.content.iter_chunked(_CHUNK)


# What aiohttp raises; the second for a connection that the server resets while something is written to it.
_FAILURES = (aiohttp.ClientError, ConnectionError)


@lru_cache(maxsize=16)
def _timeout(silence: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)


@lru_cache(maxsize=16)
def _proxy(url: str) -> _Proxy:
    parsed = URL(url)
    if parsed.user is None:
        return _Proxy(parsed, None)
    return _Proxy(parsed.with_user(None), aiohttp.BasicAuth(parsed.user, parsed.password or ""))


def _failure(error: Exception, target: Target) -> ModelUnavailable:
    """The error of a request that came to nothing."""
    text = f"{target.name}: {_reason(error, target)}"
    if _never_connected(error) or _never_sent(error):
        return ModelUnavailable(text)
    return _unknown_outcome(text)


def _never_connected(error: Exception) -> bool:
    """True when there was no connection."""
    return isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError
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


def _reason(error: Exception, target: Target) -> str:
    """The failure of a request as text for people. What a proxy does is not said of the model's host."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{target.proxy} refused with {error.status} {error.message}".rstrip()
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
        return f"the certificate of {target.url.host} is not trusted here ({reason}); {_CERTIFICATE}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError):
        return "the connection was closed before the answer was complete"
    if isinstance(error, aiohttp.SocketTimeoutError):
        return "the server was silent for too long"
    host = str(target.proxy) if target.proxy is not None else target.url.host
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no connection to {host} within {CONNECT_TIMEOUT:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        place = host if target.proxy is not None else f"{host}:{target.url.explicit_port or ''}"
        return f"cannot connect to {place} ({error.strerror or 'failed'})"
    return f"the request failed ({type(error).__name__})"
