"""Threads for blocking work, so that the orchestrator's loop never waits for a disk (P9)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import ParamSpec, Protocol, TypeVar

from po_jupyter.errors import Unavailable

T = TypeVar("T")
P = ParamSpec("P")


class ToThread(Protocol):
    """Runs blocking work in a thread; `asyncio.to_thread` is one."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; returns and raises as it does."""
        ...


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
