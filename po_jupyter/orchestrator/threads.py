"""Threads for blocking work, so that the orchestrator's loop never waits for a disk (P9)."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event, Lock
from typing import ParamSpec, Protocol, TypeVar, cast

from po_jupyter.errors import RateLimited, Unavailable
from po_jupyter.store.protocol import Head, LogStore

T = TypeVar("T")
P = ParamSpec("P")
RETRY_AFTER = 5  # s that a request waits which is refused because there are too many


class ToThread(Protocol):
    """Runs blocking work in a thread; `asyncio.to_thread` is one."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; returns and raises as it does."""
        ...


class OwnerThreads(Protocol):
    """Threads that owners share, so that none keeps another out (`BoundedThreads`)."""

    def of(self, owner: str) -> ToThread:
        """The threads for work of an owner."""
        ...


class BoundedThreads:
    """Threads for work that may take long: only so much of each owner is taken at once, and what is more is refused.

    Owners take turns. One of whom nothing is worked on does not wait for another's work to end: there are as many
    threads again for that.
    """

    def __init__(self, size: int, waiting: int, name: str) -> None:
        """At most `size` threads, for one owner, and `waiting` calls of theirs that wait for one."""
        self._size = size
        self._most = size + waiting
        self._pool = ThreadPoolExecutor(2 * size, thread_name_prefix=name)
        self._lock = Lock()
        self._running: Counter[str] = Counter()
        self._waiting: dict[
            str, deque[tuple[Future[object], Callable[[], object]]]
        ] = {}  # whose turn is next is first

    def of(self, owner: str) -> ToThread:
        """Run work of an owner in a thread; raises RateLimited when there is too much of theirs already."""

        async def run(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
            call = partial(contextvars.copy_context().run, partial(work, *args, **kwargs))
            return cast(T, await asyncio.wrap_future(self._take(owner, call)))

        return run

    def _take(self, owner: str, call: Callable[[], object]) -> Future[object]:
        future: Future[object] = Future()
        with self._lock:
            # Counted until it ends, also when nobody waits for it any more.
            if self._running[owner] + len(self._waiting.get(owner, ())) >= self._most:
                raise RateLimited(
                    f"{self._most} requests of this kind are being worked on",
                    hint="Try again in a moment.",
                    details={"retry_after": RETRY_AFTER},
                )
            self._waiting.setdefault(owner, deque()).append((future, call))
            self._start()
        return future

    def _start(self) -> None:
        """Start what may start; the lock is held."""
        while (owner := self._next_owner()) is not None:
            queue = self._waiting.pop(owner)
            future, call = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # behind the others
            if future.set_running_or_notify_cancel():
                try:
                    self._pool.submit(self._work, owner, future, call)
                except RuntimeError as error:  # closed, or no thread can be started
                    future.set_exception(error)
                    continue
                self._running[owner] += 1

    def _next_owner(self) -> str | None:
        total = self._running.total()
        idle = (owner for owner in self._waiting if not self._running[owner])
        if total < 2 * self._size and (owner := next(idle, None)) is not None:
            return owner
        return next(iter(self._waiting), None) if total < self._size else None

    def _work(self, owner: str, future: Future[object], call: Callable[[], object]) -> None:
        with self._lock:  # after `_start`, which may not be done with it yet
            if future.done():
                return  # its caller was told that it failed: the pool keeps work whose thread cannot be started
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                self._running[owner] -= 1
                if not self._running[owner]:
                    del self._running[owner]
                self._start()

    def close(self) -> None:
        """Take no more work; what waits is dropped, what has begun ends by itself."""
        with self._lock:
            for queue in self._waiting.values():
                for future, _ in queue:
                    future.cancel()
            self._waiting.clear()
            self._pool.shutdown(wait=False, cancel_futures=True)


async def read_head(store: LogStore, run: str, to_thread: ToThread) -> Head:
    """The head of a run, read in the thread that the store has for it, or in one of `to_thread` where it has none: one
    change of threads instead of two. Raises StoreError, NotFound."""
    thread = store.thread(run)
    if thread is not None:
        with suppress(RuntimeError):  # the store was closed meanwhile: the next use opens it again
            return await asyncio.get_running_loop().run_in_executor(thread, store.head, run)
    return await to_thread(store.head, run)


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
