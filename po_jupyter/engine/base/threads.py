"""Threads of sync stages: the loop keeps its heartbeat, and a stop reaches into the thread."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from po_jupyter.engine.base.interrupts import Stopped

T = TypeVar("T")
OffLoop: TypeAlias = Callable[..., Awaitable[Any]]  # calls a function in a thread, as `Threads.run`
_MAX_THREADS = 1024  # as many as `max_concurrency` allows rows; a thread exists only once it was needed


class StageThreads(ThreadPoolExecutor):
    """The threads in which stages of a run work, told apart from those of the store."""


class Threads:
    """A pool of threads for sync stages."""

    def __init__(self, max_threads: int = _MAX_THREADS) -> None:
        """An empty pool; a thread is started when it is needed."""
        self._pool = StageThreads(max_threads, thread_name_prefix="po-stage")

    async def run(self, fn: Callable[..., T], *args: object) -> T:
        """Call `fn(*args)` in a thread, in this context, and wait for its result.

        When the caller is cancelled (a stop, a timeout) `Stopped` is raised inside the thread at its next
        Python instruction. Code that waits in C is not reached before it comes back; nobody waits for it.
        """
        job = _Job()
        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, job.run, fn, args)
        try:
            return await future
        except asyncio.CancelledError:
            job.stop()
            raise

    def close(self) -> None:
        """Let the threads end; those that still run are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Job:
    __slots__ = ("_lock", "_stopped", "_thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._stopped = False

    def run(self, fn: Callable[..., T], args: tuple[object, ...]) -> T:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._thread = threading.get_ident()
        try:
            return fn(*args)
        finally:
            with self._lock:
                self._thread = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(Stopped)
                )
