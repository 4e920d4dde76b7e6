"""Amazon's event streams: frames in pieces, damaged, huge, cut off; exceptions."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.wire.event_stream import aws_events
from po_jupyter.testing.model_server.aws_frames import event_frame, frame

EVENTS: list[dict[str, Any]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Grüße 日本 🎉"}}},
    {"messageStop": {"stopReason": "end_turn"}},
]
RAW = b"".join(map(event_frame, EVENTS))


async def events(*pieces: bytes) -> list[Any]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [json.loads(event) async for event in aws_events(httpx.Response(200, content=body()))]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_frames_come_in_any_pieces(size: int) -> None:
    assert await events(*(RAW[n : n + size] for n in range(0, len(RAW), size))) == EVENTS


async def test_an_exception_is_an_error_with_its_type() -> None:
    raw = event_frame({"error": {"type": "throttlingException", "message": "Too many."}})
    assert await events(raw) == [{"error": {"type": "throttlingException", "message": "Too many."}}]
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "It broke."}
    assert await events(frame(headers, b"")) == [{"error": {"type": "InternalError", "message": "It broke."}}]
    not_json = frame({":message-type": "exception", ":exception-type": "x"}, b"<html>")
    assert await events(not_json) == [{"error": {"type": "x", "message": "<html>"}}]


@pytest.mark.parametrize("at", [4, 9, 30, len(RAW) - 200, len(RAW) - 2])
async def test_a_damaged_frame_is_a_failed_answer(at: int) -> None:
    """P3: no byte of it is believed, and what it cost is not known."""
    broken = RAW[:at] + bytes([RAW[at] ^ 0xFF]) + RAW[at + 1 :]
    with pytest.raises(ModelUnavailable, match="frame") as caught:
        await events(broken)
    assert caught.value.transient and caught.value.outcome == "unknown"


@pytest.mark.parametrize("cut", [1, 3, 11, 40])
async def test_a_stream_that_breaks_off_inside_a_frame_says_so(cut: int) -> None:
    with pytest.raises(ModelUnavailable, match="middle of a frame"):
        await events(RAW[:-cut])


@pytest.mark.parametrize("length", [0, 15, 16 * 1024 * 1024 + 1, 2**32 - 1])
async def test_a_frame_that_says_it_is_huge_is_not_waited_for(length: int) -> None:
    """P6: memory is bounded, whatever the lengths say."""
    with pytest.raises(ModelUnavailable, match="frame of"):
        await events(struct.pack(">II", length, 0) + b"x" * 64)


async def test_a_stream_without_an_end_is_bounded() -> None:
    piece = event_frame({"contentBlockDelta": {"delta": {"text": "x" * 1_000_000}}})

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield piece

    with pytest.raises(ModelUnavailable, match="larger than 64 MB"):
        async for _ in aws_events(httpx.Response(200, content=body())):
            pass


async def test_headers_that_lie_about_their_length_are_damage() -> None:
    """A checksum that fits says nothing of sense."""
    import zlib

    prelude = struct.pack(">II", 16 + 4, 4)
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + b"\xff\x07\xff\xff"
    with pytest.raises(ModelUnavailable, match="damaged"):
        await events(message + struct.pack(">I", zlib.crc32(message)))
