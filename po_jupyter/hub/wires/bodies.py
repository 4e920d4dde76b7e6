"""Bodies that users send and vendors answer: read within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import aiohttp
from aiohttp import web

from po_jupyter.hub.problems import GatewayProblem, invalid
from po_jupyter.hub.wires.upstreams import answer_lost

Parsed = TypeVar("Parsed")
MAX_ANSWER = 64 * 1024**2
MAX_ERROR = 64 * 1024
_SECONDS = 20.0  # for a small body; a larger one has longer
_SMALL = 256 * 1024  # bytes of a body that is parsed where it was read
_MOST_BODIES = 100  # of a user, that are being read
_MOST_BYTES = 64 * 1024**2  # of these; a larger one goes alone
_MOST_OF_ALL = 512 * 1024**2
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


class BodyReading:
    """The bodies that are being read and parsed: so many and so large of a user and of all, and two large ones at a
    time in the parser, which lets nothing else run."""

    def __init__(self) -> None:
        """None is."""
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._parsing = asyncio.Semaphore(2)

    @contextmanager
    def place(self, user: str, request: web.BaseRequest, most: int) -> Iterator[None]:
        """A place for a body of `most` bytes at most. Raises GatewayProblem when there is none."""
        check_encoding(request, most)
        size = request.content_length or most
        held = self._sizes[user]
        if self._counts[user] >= _MOST_BODIES or (held and held + size > _MOST_BYTES):
            raise GatewayProblem(
                429, "rate_limited", "too many bodies of yours are on their way", retry_after=1
            )
        if (total := self._sizes.total()) and total + size > _MOST_OF_ALL:
            raise GatewayProblem(429, "rate_limited", "too many bodies are on their way", retry_after=2)
        self._counts[user] += 1
        self._sizes[user] += size
        try:
            yield
        finally:
            self._counts[user] -= 1
            self._sizes[user] -= size
            if not self._counts[user]:
                del self._counts[user], self._sizes[user]

    async def parse(self, work: Callable[[], Parsed], size: int) -> Parsed:
        """Do the work for a body of `size` bytes: of a large one in a thread. Raises what it raises."""
        if size <= _SMALL:
            return work()
        async with self._parsing:
            return await asyncio.to_thread(work)


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """The body of a request. Raises GatewayProblem: too large, too slow, compressed."""
    check_encoding(request, most)
    if request.content.is_eof() and request.content.exception() is None and (request.content_length or 0) > 0:
        return request.content.read_nowait()  # it came with its head, as small ones do: no timer, no task
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


def is_cut(status: int, body: bytes) -> bool:
    """Whether `read_answer` may have left the end of a body away."""
    return status != 200 and len(body) >= MAX_ERROR


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
