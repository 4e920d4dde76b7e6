"""The blocking connection: an async client on the background loop, and callers that wait for it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, NoReturn, Self, TypeVar

from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.errors import PoError
from po_jupyter.errors.tracebacks import shorten

T = TypeVar("T")


class Blocking:
    """A connection to one orchestrator for code without an event loop.

    Safe to use from any thread and after a fork. `timeout` is of one request, in seconds; `relocate` is asked in a
    thread where the orchestrator is, after the connection was lost.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 30.0,
        relocate: Callable[[], Endpoint | None] | None = None,
    ) -> None:
        """Nothing is sent before the first call."""
        self._endpoint = endpoint
        self._timeout = timeout
        self._relocate = relocate
        self._bound: tuple[asyncio.AbstractEventLoop, AsyncClient] | None = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a pickle would hold the token (P10)."""
        raise TypeError(
            "a client of po_jupyter is a connection with a token and is not pickled; runs are, and po.connect() finds "
            "the orchestrator again"
        )

    def __copy__(self) -> Self:
        """The client itself: copies of what uses it share the connection."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """The same as a copy."""
        return self

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self.aio.endpoint.url

    @property
    def aio(self) -> AsyncClient:
        """The async client, for use on the background loop only (`background_loop.spawn`)."""
        current = loop.get_loop()
        if self._bound is None or self._bound[0] is not current:  # at first, and in the child of a fork
            aio = AsyncClient(self._endpoint, timeout=self._timeout, relocate=self._relocate)
            self._bound = (current, aio)
            # A connection that is dropped without close() must not stay open. Not at exit: then the
            # loop's thread may be gone, and the system closes it.
            weakref.finalize(self, _close_dropped, current, aio).atexit = False
        return self._bound[1]

    def call(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """The result of a coroutine of `aio`. Raises TimeoutError after `timeout` seconds."""
        try:
            return loop.run(coro, timeout)
        except (PoError, TimeoutError, KeyboardInterrupt) as error:
            shorten(error)
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The values of an async iterator of `aio`, one by one; blocks between them."""

        async def step() -> T:
            return await anext(source)

        async def finish() -> None:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

        try:
            while True:
                try:
                    value = self.call(step())
                except StopAsyncIteration:
                    return
                yield value
        finally:
            with suppress(Exception):
                self.call(finish(), 5)

    def close(self) -> None:
        """Close the connections. The orchestrator and its runs go on."""
        binding, self._bound = self._bound, None
        if binding is not None and binding[0] is loop.get_loop():
            self.call(binding[1].aclose(), 5)


def _close_dropped(owner: asyncio.AbstractEventLoop, aio: AsyncClient) -> None:
    if owner is loop.get_loop():
        asyncio.run_coroutine_threadsafe(aio.aclose(), owner)
