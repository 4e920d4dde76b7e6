"""Amazon's event streams (`application/vnd.amazon.eventstream`): binary frames with headers, a payload and checksums.

botocore takes the frames apart. An event comes out as JSON under its name, `{"messageStop": {...}}`; an exception as
`{"error": {"type": ..., "message": ...}}`, as other vendors send theirs.

Reference: smithy.io, "Amazon Event Stream Specification", read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.wire.bodies import MAX_ANSWER, ResponseStream, decode_json, pieces
from po_jupyter.model.values.json import JsonObject

_LARGEST_FRAME = 16 * 1024 * 1024  # as the specification bounds a message


async def aws_events(response: ResponseStream) -> AsyncIterator[bytes]:
    """The events of a response as JSON texts, in order.

    Raises ModelUnavailable for frames that are damaged, larger than 16 MB or cut off, and for a stream larger than
    64 MB.
    """
    from botocore.eventstream import EventStreamBuffer, ParserError

    frames, size, rest = EventStreamBuffer(), 0, bytearray()
    async for piece in pieces(response):
        size += len(piece)
        if size > MAX_ANSWER:
            raise _damaged(f"the answer is larger than {MAX_ANSWER // 1024**2} MB and was cut off")
        rest += piece
        while len(rest) >= 4:  # whole frames only: the buffer copies all that it has with each piece
            length = int.from_bytes(rest[:4], "big")
            if not 16 <= length <= _LARGEST_FRAME:
                raise _damaged(f"the stream holds a frame of {length:,} bytes")
            if len(rest) < length:
                break
            frame, rest = bytes(rest[:length]), rest[length:]
            try:
                frames.add_data(frame)
                events = list(frames)
            except (ParserError, ValueError, KeyError, IndexError) as error:
                raise _damaged(f"the stream holds a damaged frame ({type(error).__name__})") from None
            for event in events:
                yield json.dumps(_event_of(event.headers, event.payload), ensure_ascii=False).encode()
    if rest:
        raise _damaged("the stream broke off in the middle of a frame")


def _event_of(headers: dict[str, object], payload: bytes) -> JsonObject:
    kind = str(headers.get(":message-type", "event"))
    body = decode_json(payload)
    fields: JsonObject = body if isinstance(body, dict) else {}
    if kind == "event":
        return {str(headers.get(":event-type", "")): fields}
    name = headers.get(":exception-type") or headers.get(":error-code") or "unknown"
    message = fields.get("message") or headers.get(":error-message") or payload[:500].decode("utf-8", "replace")
    error: JsonObject = {"type": str(name), "message": str(message)}
    if isinstance(status := fields.get("originalStatusCode"), int):
        error["originalStatusCode"] = status
    return {"error": error}


def _damaged(problem: str) -> ModelUnavailable:
    return ModelUnavailable(problem, outcome="unknown")
