"""Starting calls from a stage: on the loop for an async stage, from its thread for a sync one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from po_jupyter.engine.base.interrupts import Stopped

T = TypeVar("T")


class CallStarter:
    """The way of one stage to the event loop. Made on the loop; what it started is stopped when the stage ends."""

    def __init__(self) -> None:
        """For a stage of the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._open: set[concurrent.futures.Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def on_loop(self) -> bool:
        """True when the caller is an async stage."""
        return threading.get_ident() == self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        """`work`, to be awaited, in an async stage; its result in a sync one."""
        return work if self.on_loop else self.wait(self.submit(work))

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `work` on the loop, from the thread of a sync stage. Raises Stopped once the stage is over."""
        if self._closed:
            work.close()
            raise Stopped
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._open.add(future)
        return future

    def wait(self, future: concurrent.futures.Future[T]) -> T:
        """Wait for what `submit` started. Raises Stopped when it was cancelled."""
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Stopped from None
        finally:
            self._open.discard(future)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` beside an async stage."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)
        return task

    def close(self) -> None:
        """Stop the calls that the stage left behind."""
        self._closed = True
        for future in list(self._open):
            future.cancel()
        for task in list(self._tasks):
            task.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the task's error: the stage may not, and asyncio complains of errors that nobody retrieves."""
    if not task.cancelled():
        task.exception()
