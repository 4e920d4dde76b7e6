"""Turns: which run's step runs on the loop of a process of many runs, written where others can read it.

A step is what a task of asyncio does between two waits. Each coroutine of a run is wrapped, so that its steps name the
run in the turn file (`ipc.turn_file`) for as long as they last, which costs a third of a microsecond; jobs in threads
are counted there. A run whose steps take long, or that works for long in a thread, is reported: it holds up all the
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from threading import Lock
from time import perf_counter, thread_time
from types import TracebackType
from typing import NamedTuple, TypeVar

from po_jupyter.engine.base.threads import StageThreads
from po_jupyter.ipc.turn_file import TurnFile
from po_jupyter.platform.concurrency import thread_clock

T = TypeVar("T")
LONG = 1.0  # s of CPU that a job in a thread may use, and heavy steps together ...
_WINDOW = 10.0  # s ... within which they are together
HEAVY = 0.1  # s that a step may take without being counted
_SAMPLE = 0.25  # s between looks at the CPU that was used


class _ThreadJob(NamedTuple):
    """A job in a thread, and the CPU that the thread had used before."""

    turn: RunTurn
    clock: Callable[[], float]
    before: float


class RunTurn:
    """The turns of one run. `on_long(seconds)` is called on the loop when its heavy steps, or a job in a thread, used
    more than a second of CPU: what others on the machine hold up is not the run's fault."""

    __slots__ = (
        "_heavy",
        "_heavy_since",
        "_jobs",
        "_jobs_index",
        "_lock",
        "_loop",
        "file",
        "numbers",
        "on_long",
        "slot",
    )

    def __init__(self, loop: TurnLoop, file: TurnFile, run: str, on_long: Callable[[float], object]) -> None:
        """Takes a slot of the file."""
        self._loop = loop
        self.file = file
        self.numbers = file.numbers
        self.slot = file.take(run)
        self.on_long = on_long
        self._jobs = 0
        self._jobs_index = file.jobs_index(self.slot)
        self._lock = Lock()
        self._heavy = self._heavy_since = 0.0

    def release(self) -> None:
        """The run has left; what is still to come of it names nobody."""
        with self._lock:
            slot, self.slot = self.slot, 0
            if slot:
                self.file.release(slot)

    def heavy_step(self, seconds: float) -> None:
        """A step that ended now took that long."""
        now = perf_counter()
        if now - self._heavy_since > _WINDOW + seconds:
            self._heavy, self._heavy_since = 0.0, now
        self._heavy += self._loop.cpu_of(seconds, now)
        if self._heavy > LONG:
            self.on_long(self._heavy)

    def job(self, fn: Callable[..., T], *args: object) -> T:
        """Call `fn` in this thread, counted meanwhile."""
        self._count(1)
        before = thread_time()
        job = _ThreadJob(self, thread_clock(), before)
        self._loop.jobs[id(job)] = job
        try:
            return fn(*args)
        finally:
            self._count(-1)
            is_new = self._loop.jobs.pop(id(job), None) is not None
            if is_new and (seconds := thread_time() - before) > LONG:
                self._loop.call_soon_threadsafe(self.on_long, seconds)

    def _count(self, change: int) -> None:
        with self._lock:
            self._jobs += change
            if self.slot:
                self.numbers[self._jobs_index] = self._jobs


_turn: ContextVar[RunTurn | None] = ContextVar("po_turn", default=None)


class TurnCoroutine(Coroutine[object, object, object]):
    """A coroutine whose steps are its run's turns."""

    __slots__ = ("_coroutine", "_numbers", "_send", "_turn")

    def __init__(self, coroutine: Coroutine[object, object, object], turn: RunTurn) -> None:
        """Of a coroutine that has not started."""
        self._coroutine = coroutine
        self._send = coroutine.send
        self._turn = turn
        self._numbers = turn.numbers

    def send(self, value: object) -> object:
        """See `Coroutine`."""
        numbers = self._numbers
        numbers[1] += 1
        numbers[0] = self._turn.slot
        began = perf_counter()
        try:
            return self._send(value)
        finally:
            numbers[0] = 0
            if (seconds := perf_counter() - began) > HEAVY:
                self._turn.heavy_step(seconds)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        error: BaseException | object = None,
        trace: TracebackType | None = None,
    ) -> object:
        """See `Coroutine`."""
        numbers = self._numbers
        numbers[1] += 1
        numbers[0] = self._turn.slot
        began = perf_counter()
        try:
            if isinstance(kind, BaseException):
                return self._coroutine.throw(kind)
            return self._coroutine.throw(kind, error, trace)
        finally:
            numbers[0] = 0
            if (seconds := perf_counter() - began) > HEAVY:
                self._turn.heavy_step(seconds)

    def close(self) -> None:
        """See `Coroutine`."""
        self._coroutine.close()

    def __await__(self) -> Generator[object, None, object]:
        """See `Coroutine`."""
        return self._coroutine.__await__()


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[object, object, object],
    *,
    context: Context | None = None,
    **options: object,
) -> asyncio.Task[object]:
    turn = _turn.get() if context is None else context.get(_turn)
    if turn is not None:
        coroutine = TurnCoroutine(coroutine, turn)
    return asyncio.Task(coroutine, loop=loop, context=context, **options)  # type: ignore[arg-type]  # a later Python's


class TurnLoop(asyncio.SelectorEventLoop):
    """The event loop of a process of many runs."""

    def __init__(self) -> None:
        """A loop whose tasks take turns."""
        super().__init__()
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # typeshed knows no further options
        self.jobs: dict[int, _ThreadJob] = {}  # in threads, that were not reported
        self._sampled = 0.0  # when this was looked at last:
        self._cpu = 0.0  # s that the loop's own thread had used
        self.call_soon(self._sample)

    def cpu_of(self, seconds: float, now: float) -> float:
        """About the CPU that the loop's thread used in a step of so many seconds that ends now."""
        used = thread_time() - self._cpu
        return min(seconds, used if seconds > LONG else used * seconds / max(now - self._sampled, seconds))

    def _sample(self) -> None:
        self.call_later(_SAMPLE, self._sample)
        self._sampled, self._cpu = perf_counter(), thread_time()
        for key, job in list(self.jobs.items()):
            if (seconds := job.clock() - job.before) > LONG and self.jobs.pop(key, None) is not None:
                job.turn.on_long(seconds)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        """As the base's; what a run does in threads, except in the store's, is counted as its own."""
        turn = _turn.get()
        if turn is not None and (executor is None or isinstance(executor, StageThreads)):
            return super().run_in_executor(executor, turn.job, func, *args)
        return super().run_in_executor(executor, func, *args)


def begin(turn: RunTurn) -> None:
    """Have what this context does from now on, and the tasks that it starts, be the run's."""
    _turn.set(turn)
