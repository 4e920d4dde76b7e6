"""The pump of a response that goes on: writes its parts to the socket as they come, until one of both ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from logging import Logger

from tornado.iostream import StreamClosedError

from po_jupyter.errors import PoError


async def pump(
    source: AsyncGenerator[bytes, None], send: Callable[[bytes], Awaitable[None]], log: Logger
) -> None:
    """Send every part of `source`; it is closed at the end, whichever way that comes.

    `send` returns when the socket took the part: a slow reader slows its own stream. Headers are sent with the first
    part, so an error of ours ends the stream early: the reader may come back and is told then. Other errors are
    raised.
    """
    try:
        async for part in source:
            await send(part)
    except StreamClosedError:
        pass
    except PoError as error:
        log.warning("po_jupyter: a stream ended early: %s", error.message)
    finally:
        await source.aclose()
