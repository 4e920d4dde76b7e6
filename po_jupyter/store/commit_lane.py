"""The commit lane of a shard: commits of many runs that become ready together share one durable transaction.

What `group_commit` does for the commits of one run a lane does for the runs of a process. A transaction that fails is
undone for all of them; each is then written by itself, so that only those fail that have to.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from threading import Lock
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
OnWritten: TypeAlias = Callable[[R | None, Exception | None], None]

MOST_RUNS = 100  # in one transaction
PATIENCE = 30.0  # s that a lane waits for a full disk, for all its runs together


class LaneWrite(Protocol[R_co]):
    """What a run wants written. Called in the lane's thread."""

    def together(self) -> R_co:
        """Write, inside a transaction of others. Raises what it has to be undone for."""
        ...

    def undone(self) -> None:
        """The transaction was undone: forget what `together` noted."""
        ...

    def alone(self, until: float) -> R_co:
        """Write in a transaction of its own; a full disk is waited for until then, by `time.monotonic`."""
        ...


class _Waiting(NamedTuple, Generic[R]):
    write: LaneWrite[R]
    done: OnWritten[R]
    loop: asyncio.AbstractEventLoop


class _Written(NamedTuple, Generic[R]):
    waiting: _Waiting[R]
    result: R | None
    error: Exception | None


class CommitLane(Generic[R]):
    """The lane of one shard, for any number of event loops."""

    def __init__(
        self, thread: Callable[[], Executor], transaction: Callable[[Callable[[], object]], object]
    ) -> None:
        """`thread` is where the shard's work is done, `transaction` does what it is given in one transaction there."""
        self._thread = thread
        self._transaction = transaction
        self._waiting: list[_Waiting[R]] = []
        self._is_working = False
        self._lock = Lock()

    def submit(self, write: LaneWrite[R], done: OnWritten[R]) -> None:
        """Write with what else waits. Call it on a loop, where `done(result, error)` is called then: by a callback, for
        a future for each commit would cost as much as the commit."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._waiting.append(_Waiting(write, done, loop))
            start, self._is_working = not self._is_working, True
        if start:
            loop.call_soon(self._start)  # with everything else that is submitted in this turn of the loop

    def write(self, write: LaneWrite[R]) -> asyncio.Future[R]:
        """Write with what else waits; the result of the write. Call it on a loop."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.submit(write, partial(_resolve, result))
        return result

    def _start(self) -> None:
        try:
            self._thread().submit(self._work)
        except Exception as error:  # the store was closed meanwhile, or no thread can be started
            with self._lock:
                self._is_working = False
                waiting, self._waiting = self._waiting, []
            self._deliver([_Written(w, None, error) for w in waiting])

    # -- in the thread --------------------------------------------------------------------------
    def _work(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting[:MOST_RUNS], self._waiting[MOST_RUNS:]
                if not batch:
                    self._is_working = False
                    return
            self._deliver(self._written(batch))
            with self._lock:
                if not self._waiting:
                    self._is_working = False
                    return
            try:
                self._thread().submit(self._work)  # behind the reads and claims that came meanwhile
                return
            except Exception:  # noqa: S112 - the store is being closed: what waits is written now
                continue

    def _written(self, batch: list[_Waiting[R]]) -> list[_Written[R]]:
        if len(batch) > 1:
            results: list[_Written[R]] = []

            def write() -> None:
                results.extend(_Written(w, w.write.together(), None) for w in batch)

            try:
                self._transaction(write)
            except Exception:
                for waiting in batch:
                    waiting.write.undone()
            else:
                return results
        until = time.monotonic() + PATIENCE
        return [self._alone(waiting, until) for waiting in batch]

    @staticmethod
    def _alone(waiting: _Waiting[R], until: float) -> _Written[R]:
        try:
            return _Written(waiting, waiting.write.alone(until), None)
        except Exception as error:
            return _Written(waiting, None, error)

    @staticmethod
    def _deliver(results: list[_Written[R]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Written[R]]] = defaultdict(list)
        for written in results:
            by_loop[written.waiting.loop].append(written)
        for loop, of_loop in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, of_loop)
            except RuntimeError:
                continue  # a loop that was closed: nobody waits there any more


def lane_of(store: object, run: str) -> CommitLane[Any] | None:
    """The lane of a run, for it and others; None for a store without a method `lane(run)`, in which commits of several
    runs cannot share a transaction."""
    lane: Callable[[str], CommitLane[Any]] | None = getattr(store, "lane", None)
    return None if lane is None else lane(run)


def _settle(results: list[_Written[R]]) -> None:
    for written in results:
        written.waiting.done(written.result, written.error)


def _resolve(future: asyncio.Future[R], result: R | None, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]  # with no error there is a value
