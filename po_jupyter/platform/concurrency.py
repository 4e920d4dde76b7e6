"""Concurrency on an event loop: coroutines that run together, background tasks, locks by key."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger(__name__)


def thread_clock() -> Callable[[], float]:
    """A clock of the CPU that this thread uses, for other threads to read; where there is none it stands still."""
    if sys.platform == "linux":
        clock = time.pthread_getcpuclockid(threading.get_ident())

        def read() -> float:
            try:
                return time.clock_gettime(clock)
            except OSError:  # the thread has ended
                return 0.0

        return read
    else:
        return float


async def gather_or_cancel(coroutines: Iterable[Coroutine[object, object, None]]) -> None:
    """Run them all to their ends. The first error, or a cancellation, ends the others before it is raised.

    As it came and not in a group, which is what `asyncio.TaskGroup` would make of it: callers tell errors apart.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class BackgroundTasks:
    """Tasks that run beside their owner, which waits for them or cancels them when it ends. What one raises is
    logged, and ends no other."""

    def __init__(self) -> None:
        """None yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[object, object, None], name: str) -> None:
        """Run it on the loop. `name` is for people who read a log or a dump of tasks."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def wait(self) -> None:
        """Wait for the tasks that run now."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Cancel the tasks that run now, and wait for their ends."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected", task=task.get_name(), exc_info=error)


class KeyedLocks:
    """One lock for each key, kept only while it is used."""

    def __init__(self) -> None:
        """No key is locked."""
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of the key."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)
