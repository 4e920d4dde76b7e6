"""Deadlines of stages. Time in which the whole process stood still does not count.

The clock (`time.monotonic`) does not count a suspended machine on Linux and macOS, but it goes on while a
process is stopped (SIGSTOP, a debugger, a paused session): on waking up every deadline would be over at once.
The system tells the process then, and the handler runs before any timer of the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType

from po_jupyter.platform import signals

_TICK = 0.5  # s; a pause is known to within this


class _PauseClock:
    """The seconds that this process stood still since `notice_pauses`."""

    def __init__(self) -> None:
        self.paused = 0.0
        self._last = time.monotonic()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        def tick() -> None:
            self._last = time.monotonic()
            loop.call_later(_TICK, tick)

        def continued() -> None:
            now = time.monotonic()
            self.paused += now - self._last
            self._last = now

        self.paused = 0.0
        tick()
        signals.on_continue(continued)


_clock = _PauseClock()


def notice_pauses(loop: asyncio.AbstractEventLoop) -> None:
    """Watch out for pauses of this process from now on. Only in the main thread."""
    _clock.start(loop)


_current: ContextVar[Deadline | None] = ContextVar("po_deadline", default=None)


def waiting() -> AbstractContextManager[None]:
    """Stop the clock of the stage that runs here (`Deadline.waiting`); nothing when none does."""
    deadline = _current.get()
    return deadline.waiting() if deadline is not None else nullcontext()


class Deadline:
    """A timeout like `asyncio.timeout(seconds)` whose time passes only while the process runs."""

    __slots__ = ("_counted", "_loop", "_since", "_timeout", "_timer", "_token", "_waits", "_when")

    def __init__(self, seconds: float) -> None:
        """A deadline `seconds` from now, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._when = self._loop.time() + seconds
        self._counted = _clock.paused
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._token: Token[Deadline | None] | None = None
        self._waits = 0
        self._since = 0.0  # when the first of `_waits` began

    async def __aenter__(self) -> Deadline:
        """Start the clock."""
        await self._timeout.__aenter__()
        self._timer = self._loop.call_at(self._when, self._due)
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock. Raises TimeoutError when the deadline passed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._token is not None:
            _current.reset(self._token)
        await self._timeout.__aexit__(kind, error, trace)

    def extend(self, seconds: float) -> None:
        """Move the deadline `seconds` later."""
        self._when += seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clock inside the block: what the stage waits for is what others have to free."""
        if not self._waits:
            self._since = self._loop.time()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._when += self._loop.time() - self._since

    def expired(self) -> bool:
        """True when this deadline raised the TimeoutError."""
        return self._timeout.expired()

    def _due(self) -> None:
        self._when += _clock.paused - self._counted
        self._counted = _clock.paused
        now = self._loop.time()
        when = self._when + (now - self._since if self._waits else 0.0)
        if when > now:
            self._timer = self._loop.call_at(when, self._due)
        else:
            self._timeout.reschedule(now)
