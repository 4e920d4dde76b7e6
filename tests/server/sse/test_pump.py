"""The pump sends part after part, and closes its source whichever way it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest
from tornado.iostream import StreamClosedError

from po_jupyter.errors import StoreUnusable
from po_jupyter.server.sse.pump import pump

LOG = logging.getLogger("test")


class Source:
    """Three parts, then perhaps an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = False

    async def parts(self) -> AsyncGenerator[bytes, None]:
        try:
            for part in (b"a", b"b", b"c"):
                yield part
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


async def test_every_part_is_sent_in_order() -> None:
    source, sent = Source(), []

    async def send(part: bytes) -> None:
        sent.append(part)

    await pump(source.parts(), send, LOG)
    assert sent == [b"a", b"b", b"c"]
    assert source.closed


async def test_a_reader_that_goes_ends_it_quietly() -> None:
    source = Source()

    async def send(part: bytes) -> None:
        raise StreamClosedError

    await pump(source.parts(), send, LOG)
    assert source.closed


async def test_our_errors_end_it_and_others_are_accidents(caplog: pytest.LogCaptureFixture) -> None:
    async def send(part: bytes) -> None:
        pass

    await pump(Source(StoreUnusable("the disk is full")).parts(), send, LOG)
    assert "the disk is full" in caplog.text
    with pytest.raises(ZeroDivisionError):
        await pump(Source(ZeroDivisionError()).parts(), send, LOG)


async def test_a_cancelled_pump_closes_its_source() -> None:
    """P8: a closed tab gives its subscription back."""
    source = Source()

    async def send(part: bytes) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(pump(source.parts(), send, LOG))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert source.closed
