"""Answers of vendors as they are passed on: whole, or piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp
import structlog
from aiohttp import web

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.state import GatewayState
from po_jupyter.hub.wires.bodies import is_cut, read_answer
from po_jupyter.hub.wires.upstreams import StreamScrubber, Upstream
from po_jupyter.model.values.json import JsonObject

log = structlog.get_logger(__name__)
Watch = Callable[[bytes], object]
_LONGEST = 10  # times the silence that is borne
_LOOK = 1.0  # seconds between two looks at a user's connection


class RefusedByVendor(GatewayProblem):
    """The vendor did not take the request, for a reason that is no user's business: it costs nothing."""

    def __init__(self, message: str) -> None:
        """`message` is for people."""
        super().__init__(503, "vendor_unavailable", message, retry_after=5)


class VendorAnswer(NamedTuple):
    """A whole answer: as it is passed on, and its JSON object; None for an answer that is none."""

    response: web.Response
    value: JsonObject | None


def vendor_answer(upstream: Upstream, response: aiohttp.ClientResponse, body: bytes) -> web.Response:
    """A vendor's whole answer, as it is passed on. Raises GatewayProblem for what is no user's business: the team's
    key was refused, or the vendor sends elsewhere."""
    if response.status in (401, 403):
        log.error("a vendor refuses the team's key", provider=upstream.name, status=response.status)
        raise RefusedByVendor(
            f"{upstream.name} refuses the team's key with {response.status}: an administrator has to look at it"
        )
    if response.status < 200 or 300 <= response.status < 400:
        raise RefusedByVendor(f"{upstream.name} answered {response.status}: redirects are not followed")
    headers = upstream.answer_headers(response.headers)
    body = upstream.scrubbed(body, is_cut=is_cut(response.status, body))
    return web.Response(body=body, status=response.status, headers=headers)


async def send_whole(
    state: GatewayState,
    upstream: Upstream,
    request: web.BaseRequest,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    data: object = None,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    change: Callable[[JsonObject], JsonObject] | None = None,
) -> VendorAnswer:
    """Send a request that is no call; `headers` are further ones of the gateway's own, `change` makes of
    the answer's JSON what is passed on. Raises GatewayProblem."""
    sent = upstream.headers(request.headers, content_type if data is not None else "") | dict(headers or {})
    response = await state.vendors.send(upstream, method, upstream.url(path, query), headers=sent, data=data)
    try:
        body = await read_answer(response)
        body = upstream.scrubbed(body, is_cut=is_cut(response.status, body))
    finally:
        response.release()
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return VendorAnswer(vendor_answer(upstream, response, body), None)
    if change is not None and response.status == 200:
        body = json.dumps(change(value)).encode()
    return VendorAnswer(vendor_answer(upstream, response, body), value)


async def vendor_stream(
    state: GatewayState, upstream: Upstream, request: web.BaseRequest, path: str
) -> web.StreamResponse:
    """Pass a file on while it comes. Raises GatewayProblem."""
    headers = upstream.headers(request.headers, "")
    response = await state.vendors.send(upstream, "GET", upstream.url(path), headers=headers)
    try:
        if response.status != 200:
            return vendor_answer(upstream, response, await read_answer(response))
        return await pass_on(request, upstream, response, state.config.timeout)
    finally:
        response.close()


async def pass_on(
    request: web.BaseRequest,
    upstream: Upstream,
    response: aiohttp.ClientResponse,
    seconds: float,
    watch: Watch = lambda data: None,
) -> web.StreamResponse:
    """Pass an answer on piece by piece; `watch` sees each before it goes. One that breaks off is broken off, so is one
    that its user does not read for `seconds`, or that takes ten times as long."""
    headers = upstream.answer_headers(response.headers) | {
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
    stream = web.StreamResponse(status=200, headers=headers)
    scrubber = StreamScrubber(upstream.key)
    await stream.prepare(request)
    presence = _Presence(request, response)
    try:
        async with asyncio.timeout(_LONGEST * seconds):
            async for data in response.content.iter_any():
                watch(data)
                if shown := scrubber.feed(data):
                    async with asyncio.timeout(seconds):
                        await stream.write(shown)
            async with asyncio.timeout(seconds):
                if rest := scrubber.flush():
                    await stream.write(rest)
                await stream.write_eof()
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        presence.end()
    return stream


class _Presence:
    """Looks whether the user is still there while the vendor is silent: nothing is written then, which would say so.
    When nobody is, the vendor's connection is closed, so that it can stop as well."""

    def __init__(self, request: web.BaseRequest, response: aiohttp.ClientResponse) -> None:
        self._request = request
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(_LOOK, self._look)

    def _look(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            self._response.close()
        else:
            self._next = self._loop.call_later(_LOOK, self._look)

    def end(self) -> None:
        self._next.cancel()
