"""Signals to a run in its worker: drain, read the log, rest. All work of the run passes a checkpoint here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.errors import StoreError

T = TypeVar("T")


class RunSignals:
    """The signals of one run. A `Boundary`.

    `running` are the tasks that are executed here and now; the executor alone changes it. `on_rest` is called with
    whether all of them only wait for answers that may take hours: the worker's place may then be another run's.
    `on_hold` is called when the run is given back because the machine lacks something; `shortage` says what.
    """

    def __init__(
        self,
        log: RunLog,
        *,
        on_rest: Callable[[bool], None] | None = None,
        on_hold: Callable[[], object] = lambda: None,
    ) -> None:
        """The signals of the run whose log is `log`."""
        self._log = log
        self._on_rest = on_rest
        self._on_hold = on_hold
        self.shortage: StoreError | None = None
        self._drained = asyncio.Event()
        self._resting: set[str] = set()
        self._refreshing: set[asyncio.Task[None]] = set()
        self.draining = False
        self.running: set[str] = set()

    def cancel_hint(self) -> None:
        """Read the log now: somebody wrote to the run. Safe to call from the loop at any time."""
        task = asyncio.get_running_loop().create_task(self._log.refresh())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    def drain(self) -> None:
        """Finish the calls in flight, start nothing new, give the run back."""
        self.draining = True
        self._drained.set()
        self._log.wake.set()

    def hold(self, shortage: StoreError) -> None:
        """Give the run back as a drain does; the next worker starts when the machine has what it needs."""
        if self.shortage is None:
            self.shortage = shortage
            self.drain()
            self._on_hold()

    def checkpoint(self) -> None:
        """Raise the Interrupt that is due; called between stages and before calls."""
        if self.draining:
            raise Drained
        if self._log.closed:
            raise Stopped

    async def sleep(self, seconds: float) -> None:
        """Wait; a drain ends the wait with Drained."""
        self.checkpoint()
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            return
        raise Drained

    async def unless_drained(self, work: Coroutine[object, object, T]) -> T:
        """The result of work that costs nothing but time: a drain cancels it, with Drained."""
        self.checkpoint()
        working, drained = asyncio.ensure_future(work), asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait((working, drained), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Drained
        finally:
            for task in (working, drained):
                task.cancel()
            await asyncio.gather(working, drained, return_exceptions=True)

    def rest(self, task: str, resting: bool) -> None:
        """Note that a task only waits for an answer that may take hours, or that it works again."""
        (self._resting.add if resting else self._resting.discard)(task)
        if self._on_rest is not None:
            self._on_rest(bool(self._resting) and self.running <= self._resting)
