"""The lag of the loop that serves everybody: how much too late a timer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY = 0.5  # s


class LoopLag:
    """Measures while it runs: a sleeping task that looks how late it was woken."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        """`observe(seconds)` gets each measurement. Nothing runs yet."""
        self._observe = observe
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Measure from now on; again: nothing more."""
        if self._task is None:
            self._task = asyncio.create_task(self._measure(), name="loop lag")

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._observe(max(0.0, loop.time() - due))
