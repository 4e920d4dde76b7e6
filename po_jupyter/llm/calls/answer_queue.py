"""The queue of answers on their way to the cache and back: in batches, in one thread, for a run or for many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

_LINGER = 0.2  # s that answers wait for others to be written with
_FULL = 200  # answers that are written at once
_PATIENCE = 1.0  # s that a call waits for the cache; then it is sent as if there were no answer
_MAX_WAITING = 20_000  # answers that wait to be written; a disk slower than the models loses the others

CacheRow: TypeAlias = Mapping[str, Any]
"""A kept answer: a `ChatResponseJson` without the call's own fields, and `run`, the run that put it."""
_Lookup: TypeAlias = tuple[str, "asyncio.Future[CacheRow | None]"]


class AnswerStore(Protocol):
    """The storage of the cache. Its methods block, never raise, and are called by one thread."""

    def find(self, keys: Sequence[str]) -> Mapping[str, CacheRow]:
        """The rows of those keys that exist."""
        ...

    def keep(self, rows: Sequence[tuple[str, CacheRow]]) -> None:
        """Put rows, in the place of those that exist."""
        ...

    def close(self) -> None:
        """Give back what belongs to the thread, which ends."""
        ...


class AnswerQueue:
    """Lookups and writes of the cache, those that come together as one. Lives on one loop."""

    def __init__(self, answers: AnswerStore) -> None:
        """Over a store of answers; nothing is asked yet."""
        self._answers = answers
        self._lookups: list[_Lookup] = []
        self._rows: list[tuple[str, CacheRow]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._job: asyncio.Future[Mapping[str, CacheRow]] | None = None
        self._timer: asyncio.Handle | None = None
        self._waiting: deque[tuple[float, asyncio.Future[CacheRow | None]]] = (
            deque()
        )  # until when, by the loop's clock
        self._patience: asyncio.Handle | None = None
        self._writing = 0  # rows of the job
        self._written = 0  # rows of jobs before

    def keep(self, rows: Sequence[tuple[str, CacheRow]]) -> None:
        """Put rows soon."""
        self._rows += rows
        del self._rows[_MAX_WAITING:]
        if self._rows and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(0 if len(self._rows) >= _FULL else _LINGER, self._write_soon)

    def find(self, key: str) -> asyncio.Future[CacheRow | None]:
        """The row of a key; None, when there is none or it takes too long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CacheRow | None] = loop.create_future()
        self._waiting.append((loop.time() + _PATIENCE, future))
        if self._patience is None:
            self._patience = loop.call_later(_PATIENCE, self._give_up)
        self._lookups.append((key, future))
        if len(self._lookups) == 1 and self._job is None:
            loop.call_soon(self._start_job)  # with everything else that is looked up in this turn of the loop
        return future

    def _give_up(self) -> None:
        """One timer for all lookups: one of each, which nearly all are ended before their time, costs as much as the
        lookup."""
        now = asyncio.get_running_loop().time()
        waiting = self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, future = waiting.popleft()
            if not future.done():
                future.set_result(None)
        self._patience = asyncio.get_running_loop().call_at(waiting[0][0], self._give_up) if waiting else None

    def _write_soon(self) -> None:
        self._timer = None
        self._start_job(writes=True)

    def _start_job(self, writes: bool = False) -> None:
        if self._job is not None:
            return  # when it is done it takes what has come together
        lookups, self._lookups = self._lookups, []
        rows: list[tuple[str, CacheRow]] = []
        if writes or self._timer is None or len(self._rows) >= _FULL:
            rows, self._rows = self._rows[:_FULL], self._rows[_FULL:]
            self._writing = len(rows)
        if not lookups and not rows:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="po-cache")
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._thread, self._run_job, [key for key, _ in lookups], rows)
        self._job.add_done_callback(lambda job: self._finish_job(job, lookups))

    def _run_job(self, keys: list[str], rows: list[tuple[str, CacheRow]]) -> Mapping[str, CacheRow]:
        answers = self._answers.find(keys) if keys else {}
        if rows:
            self._answers.keep(rows)
        return answers

    def _finish_job(self, job: asyncio.Future[Mapping[str, CacheRow]], lookups: list[_Lookup]) -> None:
        self._job = None
        self._written += self._writing
        self._writing = 0
        # An error of `answers` is a defect, but none that a run should die of.
        rows = {} if job.cancelled() or job.exception() else job.result()
        for key, future in lookups:
            if not future.done():
                future.set_result(rows.get(key))
        self._start_job()

    async def flush(self) -> None:
        """Return when everything kept so far is written; what others keep meanwhile is not waited for."""
        last = self._written + len(self._rows) + self._writing
        if self._rows and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._written < last:
            if self._job is None:
                self._start_job(writes=True)
            if self._job is not None:
                await asyncio.wait([self._job])

    async def aclose(self) -> None:
        """Write what waits, then end the thread."""
        await self.flush()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._answers.close)
            self._thread.shutdown(wait=False)
            self._thread = None
