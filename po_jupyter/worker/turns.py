"""Turns: which run's step runs on the loop of a process of many runs, written where others can read it.

A step is what a task of asyncio does between two waits. Each coroutine of a run is wrapped, so that its steps name the
run in the turn file (`ipc.turn_file`) for as long as they last, which costs a third of a microsecond; jobs in threads
are counted there. A run whose step was long, or that worked for long in a thread, is reported after it: it holds up all
the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from threading import Lock
from time import perf_counter, process_time, thread_time
from types import TracebackType
from typing import TypeVar

from po_jupyter.engine.base.threads import StageThreads
from po_jupyter.ipc.turn_file import TurnFile

T = TypeVar("T")
LONG = 1.0  # s that a step may take ...
_AT_WORK = 0.6  # s of CPU of this process meanwhile: what others on the machine hold up is not the run's fault
_SAMPLE = 0.25  # s between looks at the CPU that was used


class RunTurn:
    """The turns of one run. `on_long(seconds)` is called on the loop after a step of more than a second, or a job in a
    thread that used as much CPU."""

    __slots__ = ("_jobs", "_jobs_index", "_lock", "_loop", "file", "numbers", "on_long", "slot")

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

    def release(self) -> None:
        """The run has left; what is still to come of it names nobody."""
        with self._lock:
            slot, self.slot = self.slot, 0
            if slot:
                self.file.release(slot)

    def long_step(self, seconds: float) -> None:
        """A step took that long."""
        if process_time() - self._loop.cpu_before > _AT_WORK:
            self.on_long(seconds)

    def job(self, fn: Callable[..., T], *args: object) -> T:
        """Call `fn` in this thread, counted meanwhile."""
        self._count(1)
        began = thread_time()
        try:
            return fn(*args)
        finally:
            self._count(-1)
            if (seconds := thread_time() - began) > LONG:
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
            if (seconds := perf_counter() - began) > LONG:
                self._turn.long_step(seconds)

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
        try:
            if isinstance(kind, BaseException):
                return self._coroutine.throw(kind)
            return self._coroutine.throw(kind, error, trace)
        finally:
            numbers[0] = 0

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
        self.cpu_before = 0.0  # s that this process had used a moment ago
        self.call_soon(self._sample)

    def _sample(self) -> None:
        self.cpu_before = process_time()
        self.call_later(_SAMPLE, self._sample)

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
