"""What is read of a response: bounded in size, whatever it says of itself, and decoded piece by piece.

At most 64 MB of an answer and 64 KB of an error are read. A compressed body (we ask for none; some proxies
compress anyway) is inflated in small steps, so that a bomb ends at the same bounds.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator

import httpx

from po_jupyter.errors import ModelRefused, ModelUnavailable

MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR = 64 * 1024
_STEP = 256 * 1024
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Answer:
    """A response that was read to its end. `headers` are case-insensitive."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


async def read_error(response: httpx.Response) -> Answer:
    """The beginning of an error's body: at most 64 KB, and what cannot be decoded is left out."""
    body = b""
    try:
        async for piece in _decoded(response):
            body += piece
            if len(body) >= MAX_ERROR:
                break
    except (ModelRefused, ModelUnavailable):
        pass  # the status says enough
    return Answer(response.status_code, response.headers, body[:MAX_ERROR])


async def read_whole(response: httpx.Response) -> bytes:
    """The body, to its end. Raises ModelRefused when it is larger than an answer may be."""
    if response.status_code != 200:
        return (await read_error(response)).body
    chunks: list[bytes] = []
    size = 0
    async for piece in _decoded(response):
        size += len(piece)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was not read")
        chunks.append(piece)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def sse(response: httpx.Response) -> AsyncIterator[bytes]:
    """The `data` of each server-sent event of a response, in order (WHATWG HTML, "Server-sent events").

    An event that the end of the stream cuts off is not handed over, one that comes twice under the same `id`
    only once. Raises ModelRefused when the stream is larger than an answer may be.
    """
    held: list[bytes] = []  # of a line that is not complete yet
    data: list[bytes] = []
    name = b""
    last: tuple[bytes, bytes] | None = None
    size = 0
    async for piece in _decoded(response):
        size += len(piece)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was cut off")
        if b"\n" not in piece and b"\r" not in piece:
            held.append(piece)  # joined once, when the line ends: adding to it each time would be quadratic
            continue
        lines, rest = _lines(b"".join([*held, piece]) if held else piece)
        held = [rest] if rest else []
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"id:"):
                name = line[3:].strip()
            elif not line and data:
                event = b"\n".join(data)
                if not name or (name, event) != last:
                    yield event
                last = (name, event) if name else None
                data, name = [], b""


async def lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a body of JSON lines, without their ends, however many there are. Raises ModelRefused for one
    that is larger than an answer may be."""
    held: list[bytes] = []
    size = 0
    async for piece in _decoded(response):
        *complete, rest = piece.split(b"\n")
        for line in complete:
            yield b"".join([*held, line]) if held else line
            held, size = [], 0
        size += len(rest)
        if size > MAX_ANSWER:
            raise ModelRefused(f"a line of the answer is larger than {MAX_ANSWER // 1024**2} MB")
        if rest:
            held.append(rest)
    if held:
        yield b"".join(held)


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


async def _decoded(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body in pieces. Raises ModelRefused for an encoding that was not asked for and is not gzip."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if encoding not in _WBITS:
        raise ModelRefused(f"the answer is encoded as {encoding[:40]!r}, although none was asked for")
    inflate = zlib.decompressobj(_WBITS[encoding])
    try:
        async for chunk in response.aiter_raw():
            left = chunk
            while left and not inflate.eof:
                yield inflate.decompress(left, _STEP)
                left = inflate.unconsumed_tail
    except zlib.error:
        raise ModelUnavailable("the compressed answer is damaged", details={"outcome": "unknown"}) from None
    if not inflate.eof:
        raise ModelUnavailable("the compressed answer broke off", details={"outcome": "unknown"})


def as_json(body: bytes) -> object:
    """The decoded body, or None when it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
