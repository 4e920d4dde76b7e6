"""Response bodies: read piece by piece, bounded in size and decoded.

At most 64 MB of an answer and 64 KB of an error are read. A compressed body (none is asked for; some proxies
compress anyway) is inflated in small steps, so that a decompression bomb ends at the same bounds.
"""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from po_jupyter.errors import ModelRefused, ModelUnavailable

MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR = 64 * 1024
_STEP = 256 * 1024
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class ResponseStream(Protocol):
    """A response whose body arrives. `headers` are case-insensitive."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body in pieces, as it came over the wire."""
        ...


class HttpResponse:
    """A response whose body was read to its end. `headers` are case-insensitive."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """`status`, case-insensitive `headers` and the decoded `body`."""
        self.status = status
        self.headers = headers
        self.body = body


async def read_error(response: ResponseStream) -> HttpResponse:
    """An error response with the first 64 KB of its body; bytes that cannot be decoded are left out."""
    body = b""
    try:
        async for piece in pieces(response):
            body += piece
            if len(body) >= MAX_ERROR:
                break
    except (ModelRefused, ModelUnavailable):
        pass  # the status says enough
    return HttpResponse(response.status_code, response.headers, body[:MAX_ERROR])


async def read_body(response: ResponseStream) -> bytes:
    """The whole body; of an error its first 64 KB. Raises ModelRefused when it is larger than 64 MB."""
    if response.status_code != 200:
        return (await read_error(response)).body
    chunks: list[bytes] = []
    size = 0
    async for piece in pieces(response):
        size += len(piece)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was not read")
        chunks.append(piece)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def server_sent_events(response: ResponseStream) -> AsyncIterator[bytes]:
    """The `data` of each server-sent event of a response, in order (WHATWG HTML, "Server-sent events").

    An event that the end of the stream cuts off is not yielded, one that comes twice under the same `id` only
    once. Raises ModelRefused when the stream is larger than 64 MB.
    """
    incomplete: list[bytes] = []  # the pieces of a line whose end has not come yet
    data: list[bytes] = []
    name = b""
    last: tuple[bytes, bytes] | None = None
    size = 0
    started = False
    async for piece in pieces(response):
        size += len(piece)
        if size > MAX_ANSWER:
            raise ModelRefused(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was cut off")
        if b"\n" not in piece and b"\r" not in piece:
            incomplete.append(piece)  # joined once, when the line ends: joining each time would be quadratic
            continue
        lines, rest = _split_lines(b"".join([*incomplete, piece]) if incomplete else piece)
        incomplete = [rest] if rest else []
        for line in lines:
            if not started:
                started, line = True, line.removeprefix(codecs.BOM_UTF8)
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


async def json_lines(response: ResponseStream) -> AsyncIterator[bytes]:
    """The lines of a body of JSON lines, without their ends. Raises ModelRefused for a line larger than 64 MB."""
    incomplete: list[bytes] = []
    size = 0
    async for piece in pieces(response):
        *complete, rest = piece.split(b"\n")
        for line in complete:
            yield b"".join([*incomplete, line]) if incomplete else line
            incomplete, size = [], 0
        size += len(rest)
        if size > MAX_ANSWER:
            raise ModelRefused(f"a line of the answer is larger than {MAX_ANSWER // 1024**2} MB")
        if rest:
            incomplete.append(rest)
    if incomplete:
        yield b"".join(incomplete)


def _split_lines(buffer: bytes) -> tuple[list[bytes], bytes]:
    """(the complete lines of a buffer, by any of the three line ends; the rest of it)."""
    if b"\r" not in buffer:
        *lines, rest = buffer.split(b"\n")
        return lines, rest
    # A carriage return at the very end ends a line already; a line feed that follows in the next chunk must
    # not end another one, so the line is held back, unless it is blank and closes an event anyway.
    is_incomplete = buffer.endswith(b"\r") and not buffer.endswith(b"\r\r")
    buffer = (buffer[:-1] if is_incomplete else buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, rest = buffer.split(b"\n")
    return lines, rest + b"\r" if is_incomplete else rest


async def pieces(response: ResponseStream) -> AsyncIterator[bytes]:
    """The decoded body in pieces. Raises ModelRefused for an encoding other than gzip and deflate."""
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
            remaining = chunk
            while remaining and not inflate.eof:
                yield inflate.decompress(remaining, _STEP)
                remaining = inflate.unconsumed_tail
    except zlib.error:
        raise ModelUnavailable("the compressed answer is damaged", outcome="unknown") from None
    if not inflate.eof:
        raise ModelUnavailable("the compressed answer broke off", outcome="unknown")


def decode_json(body: bytes) -> object:
    """The decoded body, or None when it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
