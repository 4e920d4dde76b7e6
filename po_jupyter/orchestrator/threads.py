"""Threads for blocking work, so that the orchestrator's loop never waits for a disk (P9)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import ParamSpec, Protocol, TypeVar, cast

from po_jupyter.errors import RateLimited, Unavailable

T = TypeVar("T")
P = ParamSpec("P")
RETRY_AFTER = 5  # s that a request waits which is refused because there are too many


class ToThread(Protocol):
    """Runs blocking work in a thread; `asyncio.to_thread` is one."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; returns and raises as it does."""
        ...


class BoundedThreads:
    """Threads for work that may take long, of which only so much is taken at once: what is more is refused."""

    def __init__(self, size: int, waiting: int, name: str) -> None:
        """At most `size` threads, and `waiting` calls that wait for one."""
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._most = size + waiting
        self._taken: set[Future[object]] = set()

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; returns and raises as it does. Raises RateLimited when there is too much already."""
        # Counted until it ends, also when nobody waits for it any more.
        self._taken = {future for future in self._taken if not future.done()}
        if len(self._taken) >= self._most:
            raise RateLimited(
                f"{self._most} requests of this kind are being worked on",
                hint="Try again in a moment.",
                details={"retry_after": RETRY_AFTER},
            )
        future = self._pool.submit(contextvars.copy_context().run, partial(work, *args, **kwargs))
        self._taken.add(cast("Future[object]", future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more work; what waits is dropped, what has begun ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class ThreadRunner:
    """A pool of threads of one orchestrator, called like `asyncio.to_thread`."""

    def __init__(self, size: int) -> None:
        """`size` threads, started now: work that is taken has one, whatever the machine has left later. Raises
        Unavailable."""
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="po-orchestrator")
        all_there = Event()
        try:
            for _ in range(size):
                self._pool.submit(all_there.wait)
        except RuntimeError as error:
            self._pool.shutdown(wait=False)
            raise Unavailable(
                f"the orchestrator's threads cannot be started: {error}",
                hint="Raise the limit of threads (`ulimit -u`, or the container's).",
            ) from None
        finally:
            all_there.set()

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; returns and raises as it does."""
        # In this context, so that a log line of the thread names the request.
        call = partial(contextvars.copy_context().run, partial(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Take no more work; what has begun ends by itself."""
        self._pool.shutdown(wait=False)
