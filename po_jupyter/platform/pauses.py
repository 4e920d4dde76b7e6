"""Timeouts whose time passes only while this process runs.

The clock (`time.monotonic`) does not count a suspended machine on Linux and macOS, but it goes on while a
process is stopped (SIGSTOP, a debugger, a paused session): on waking up every timeout would be over at once, and an
answer of a model that came meanwhile would be thrown away and paid for again. The system tells the process then, and
the handler runs before any timer of the loop.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

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


class RunningTimeout:
    """A timeout like `asyncio.timeout(seconds)` whose time passes only while the process runs."""

    __slots__ = ("_counted", "_loop", "_timeout", "_timer", "_when")

    def __init__(self, seconds: float) -> None:
        """A timeout `seconds` from now, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._when = self._loop.time() + seconds
        self._counted = _clock.paused
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Start the clock."""
        await self._timeout.__aenter__()
        self._timer = self._loop.call_at(self._when, self._due)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock. Raises TimeoutError when the time is over."""
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """True when this timeout raised the TimeoutError."""
        return self._timeout.expired()

    def _held(self, now: float) -> float:
        """The seconds until `now` that do not count besides."""
        return 0.0

    def _due(self) -> None:
        self._when += _clock.paused - self._counted
        self._counted = _clock.paused
        now = self._loop.time()
        when = self._when + self._held(now)
        if when > now:
            self._timer = self._loop.call_at(when, self._due)
        else:
            self._timeout.reschedule(now)
