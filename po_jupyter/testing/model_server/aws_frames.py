"""Frames of Amazon's event streams, as Bedrock sends them. Reference: see `llm.wire.event_stream`."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping

from po_jupyter.model.values.json import JsonObject

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame: lengths, their checksum, headers, payload, the checksum of all."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def event_frame(event: JsonObject) -> bytes:
    """The frame of `{name: fields}`, or of `{"error": {"type", "message"}}` as an exception."""
    ((name, fields),) = event.items()
    payload = dict(fields)
    if name == "error":
        headers = {":message-type": "exception", ":exception-type": str(payload.pop("type"))}
    else:
        headers = {":message-type": "event", ":event-type": name}
    headers[":content-type"] = "application/json"
    return frame(headers, json.dumps(payload, ensure_ascii=False).encode())
