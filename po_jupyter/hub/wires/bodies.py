"""Bodies that users send and vendors answer: read within bounds of size and time."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.wires.upstreams import answer_lost

MAX_ANSWER = 64 * 1024**2
MAX_ERROR = 64 * 1024
_SECONDS = 20.0  # for a small body; a larger one has longer
_SLOWEST = 100_000  # bytes a second


def check_encoding(request: web.BaseRequest, most: int) -> None:
    """Refuse a compressed body, which may be a thousand times larger than it looks, and one that says it is too
    large. Raises GatewayProblem."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise invalid("a compressed body is not taken", 415)
    if (request.content_length or 0) > most:
        raise too_large(most)


def too_large(most: int) -> GatewayProblem:
    """The problem of a body that is too large."""
    return invalid(f"the body is larger than {most:,} bytes", 413)


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """The body of a request. Raises GatewayProblem: too large, too slow, compressed."""
    check_encoding(request, most)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(
            _SECONDS + most / _SLOWEST if (request.content_length or most) > 2**20 else _SECONDS
        ):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > most:
                    raise too_large(most)
                pieces.append(piece)
    except TimeoutError:
        raise invalid("the body did not arrive in time", 408) from None
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, ConnectionError):
        raise invalid("the body broke off") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_answer(response: aiohttp.ClientResponse) -> bytes:
    """The body of a vendor's answer, of an error its beginning. Raises GatewayProblem: too large, or broken off."""
    most = MAX_ANSWER if response.status == 200 else MAX_ERROR
    pieces, size = [], 0
    try:
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                if response.status == 200:
                    raise answer_lost(f"the answer is larger than {most // 1024**2} MB")
                break
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        raise answer_lost("the answer broke off") from None
    return (pieces[0] if len(pieces) == 1 else b"".join(pieces))[:most]
