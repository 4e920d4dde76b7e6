"""HTTP transport to an orchestrator: requests and streams, with retries and relocation. Knows no routes."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import IO, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

import httpx

from po_jupyter.client.http.responses import START_HINT, read_response
from po_jupyter.client.http.sse import Parser, SseMessage
from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.model.run.names import group_in_header
from po_jupyter.model.values.json import JsonObject
from po_jupyter.telemetry import tracing

Params: TypeAlias = Mapping[str, str | int | float | bool]  # of a query

PREFIX = "po/api/v1/"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_CHUNK = 256 * 1024  # bytes of a file that are sent at once
_SILENCE = 45.0  # seconds; the server says something every 15
_PAUSES = (0.1, 0.4, 1.0)  # seconds before each further try of a request that got no answer


class Endpoint(NamedTuple):
    """The address of an orchestrator: the server's base URL, its token, and the Unix socket when it has one.

    `is_shared`: it is a hub's service of shared runs; `group` is for which group it is asked, "" for oneself.
    """

    url: str
    token: str = ""
    socket: str | None = None
    is_shared: bool = False
    group: str = ""

    def __repr__(self) -> str:
        """Without the token (P10)."""
        return f"Endpoint({self.url!r})"

    @property
    def is_local(self) -> bool:
        """True for a server on this machine, where paths and interpreters mean the same."""
        if self.is_shared:
            return False
        return self.socket is not None or (urlsplit(self.url).hostname or "") in _LOOPBACK


class Transport:
    """The connection to one orchestrator, made again when it is lost.

    `relocate`, when given, is called in a thread after the connection was lost and gives the orchestrator's
    endpoint of now, or None: a headless one gets a new port when it is started again.
    """

    def __init__(
        self, endpoint: Endpoint, timeout: float, relocate: Callable[[], Endpoint | None] | None
    ) -> None:
        """Connects at the first request. `timeout` is of one request, in seconds."""
        self.endpoint = endpoint
        self._timeout = timeout
        self._relocate = relocate
        self._http = self._open(endpoint)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _open(self, endpoint: Endpoint) -> httpx.AsyncClient:
        parts = urlsplit(endpoint.url)
        verify: ssl.SSLContext | bool = True
        if parts.scheme == "http" or endpoint.is_local:
            # A loopback server's certificate is its own; loading the machine's list of authorities for
            # plain HTTP would cost 30 ms for nothing.
            verify = False
        transport = httpx.AsyncHTTPTransport(uds=endpoint.socket) if endpoint.socket else None
        base = endpoint.url.rstrip("/") + "/"
        if not base.endswith(PREFIX):
            base += PREFIX
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if endpoint.token:
            headers["Authorization"] = f"token {endpoint.token}"
        if endpoint.group:
            headers["X-Po-Group"] = group_in_header(endpoint.group)
        return httpx.AsyncClient(
            base_url=base,
            headers=headers,
            timeout=httpx.Timeout(self._timeout, connect=5.0),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=10),
            trust_env=False,
            verify=verify,
            transport=transport,
        )

    async def stream(self, path: str, params: Callable[[], Params]) -> AsyncGenerator[SseMessage, None]:
        """Messages of a stream that is opened again, with growing pauses, until that failed for too long."""
        timeout = httpx.Timeout(self._timeout, connect=5.0, read=_SILENCE)
        headers = {"Accept": "text/event-stream"}
        lost_at: float | None = None
        pause = 0.1
        while True:
            try:
                query = {**params(), **quiet_params(True)}
                async with self._http.stream(
                    "GET", path, params=query, headers=headers, timeout=timeout
                ) as response:
                    if response.status_code != 200:
                        await response.aread()
                        read_response(self.endpoint.url, response)
                        raise Unavailable(f"the stream {path} answered {response.status_code}", hint=START_HINT)
                    lost_at, pause = None, 0.1
                    parser = Parser()
                    async for chunk in response.aiter_bytes():
                        for message in parser.feed(chunk):
                            yield message
                reason: Exception = Unavailable("the server closed the stream")
            except (httpx.TransportError, Unavailable) as error:
                reason = error
            now = time.monotonic()
            lost_at = now if lost_at is None else lost_at
            if now - lost_at > self._timeout:
                raise self._unreachable(reason) from None
            await asyncio.sleep(
                pause * random.uniform(0.5, 1.5)
            )  # so that many followers do not return at once
            pause = min(pause * 2, 3.0)
            await self._follow_relocation()

    async def json(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        file: IO[bytes] | None = None,
        safe: bool = False,
    ) -> JsonObject:
        """The JSON object of the response of `send`. Raises the orchestrator's error."""
        return read_response(
            self.endpoint.url, await self.send(method, path, params=params, body=body, file=file, safe=safe)
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        file: IO[bytes] | None = None,
        safe: bool = False,
    ) -> httpx.Response:
        """The response. A request without one is sent again where that does no harm: reads, and what is `safe`.

        `body` is JSON; `file` is sent as it is, from its beginning, piece by piece.
        """
        # One id for all tries: it is one request, and finds it in every log (`telemetry.correlation`).
        headers = {"X-Request-Id": secrets.token_hex(8)}
        content: bytes | None = None
        if body is not None:
            try:
                content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
            except (TypeError, ValueError) as error:
                raise InvalidInput(f"this request cannot be written as JSON: {error}") from None
            headers["Content-Type"] = "application/json"
        if method != "GET" and not self.endpoint.token:
            await self._fetch_xsrf_cookie()
            headers["X-XSRFToken"] = self._http.cookies.get("_xsrf") or ""
        name = f"{method} {path.partition('/')[0]}"  # of few different values, as names of spans should be
        with tracing.span(name, "CLIENT") if method != "GET" else nullcontext():
            if (trace := tracing.traceparent()) is not None:
                headers[tracing.HEADER] = trace
            return await self._send(
                method, path, params, content, file, headers, repeat=safe or method != "POST", safe=safe
            )

    async def _send(
        self,
        method: str,
        path: str,
        params: Params | None,
        content: bytes | None,
        file: IO[bytes] | None,
        headers: dict[str, str],
        *,
        repeat: bool,
        safe: bool,
    ) -> httpx.Response:
        """The response, after as many tries as are allowed."""
        pauses: Iterator[float] = iter(_PAUSES)
        while True:
            try:
                request_content = content if file is None else _chunks(file)
                response = await self._http.request(
                    method, path, params=params, content=request_content, headers=headers
                )
            except httpx.TransportError as error:
                pause = next(pauses, None)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if isinstance(error, httpx.ReadTimeout):
                    # Waited for long already. Only what started something is asked about once more.
                    repeat, pauses = safe and repeat, iter(())
                if pause is None or not (repeat or unsent):
                    raise self._unreachable(error) from None
                await asyncio.sleep(pause)
                await self._follow_relocation()
                continue
            except httpx.InvalidURL as error:
                raise Unavailable(
                    f"{self.endpoint.url} is not a usable address: {error}", hint=START_HINT
                ) from None
            wait = response.headers.get("Retry-After")
            if response.status_code == 429 or (response.status_code == 503 and wait):
                pause = next(pauses, None)
                if pause is not None:
                    await asyncio.sleep(min(10.0, max(pause, _seconds(wait))))
                    continue
            return response

    async def _fetch_xsrf_cookie(self) -> None:
        # Only a server without a token asks for this; its first answer carries the cookie.
        if "_xsrf" not in self._http.cookies:
            with suppress(httpx.TransportError):
                await self._http.get("health")

    async def _follow_relocation(self) -> None:
        if self._relocate is None:
            return
        endpoint = await asyncio.to_thread(self._relocate)
        if endpoint is not None and endpoint != self.endpoint:
            old, self._http, self.endpoint = self._http, self._open(endpoint), endpoint
            with suppress(Exception):
                await old.aclose()

    def _unreachable(self, error: Exception) -> Unavailable:
        url = self.endpoint.url
        if isinstance(error, httpx.TimeoutException):
            return Unavailable(f"the orchestrator at {url} did not answer in time", hint=START_HINT)
        return Unavailable(f"no orchestrator answers at {url}", hint=START_HINT)


def params_of(**values: object) -> JsonObject:
    """Parameters, or fields of a body: those that are given."""
    return {name: value for name, value in values.items() if value is not None}


def quiet_params(quiet: bool) -> dict[str, str]:
    """The query that marks a request as not a person's: Jupyter's idle culler must not take our polling for work."""
    return {"no_track_activity": "1"} if quiet else {}


async def _chunks(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    await asyncio.to_thread(file.seek, 0)
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def path_segment(text: str) -> str:
    """A run id or a name, quoted for a URL's path. Raises InvalidInput."""
    if not text or text in (".", ".."):
        raise InvalidInput(
            f"{text!r} is not a name", hint="Run ids and pipeline names are never empty or dots."
        )
    return quote(text, safe="")
