"""The background event loop: one daemon thread per process, on which every client talks and every widget follows.

A notebook's own loop belongs to its kernel and stands still while a cell blocks; this one does not. It is
started at first use, and again after a fork.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar

from po_jupyter.errors import Unavailable

T = TypeVar("T")
TICK = 0.25  # seconds; how late an interrupt may be noticed where waiting on a lock hides it


class _Loop(asyncio.SelectorEventLoop):
    """The standard loop with the standard library's own methods.

    nest_asyncio patches the class of a running loop in place. A subclass that names the base's methods
    again is out of its reach, so a library that applied it changes nothing for us.
    """


for _name in ("run_forever", "run_until_complete", "_run_once", "_check_running"):
    setattr(_Loop, _name, getattr(asyncio.BaseEventLoop, _name))

try:
    # The same for tasks: nest_asyncio replaces asyncio.Task by its Python version, which `current_task` of
    # Python 3.14 does not see.
    from _asyncio import Task as _Task
except ImportError:  # an interpreter without the accelerator
    from asyncio import Task as _Task


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
    return _Task(coro, loop=loop, **options)


_guard = threading.RLock()  # a collected client may ask for the loop in the middle of this very thread's asking
_loop: asyncio.AbstractEventLoop | None = None


def get_loop() -> asyncio.AbstractEventLoop:
    """The running background loop of this process. Raises Unavailable when its thread cannot be started."""
    global _loop
    with _guard:
        if _loop is None:
            loop = _Loop()
            loop.set_task_factory(_make_task)
            started = threading.Event()
            thread = threading.Thread(target=_serve, args=(loop, started), name="po_jupyter", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                loop.close()
                raise Unavailable(
                    f"the client of po_jupyter has no thread: {error}",
                    hint="Try again in a moment. If it stays so, raise the limit (`ulimit -u`, or the container's).",
                ) from None
            started.wait()
            _loop = loop
        return _loop


def _serve(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(started.set)
    loop.run_forever()


def _forget() -> None:
    # The child of a fork has the loop object but not its thread; the old one is left alone, since closing it
    # would close descriptors that the parent still polls.
    global _loop, _guard
    _loop = None
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def spawn(coro: Coroutine[Any, Any, T]) -> Future[T]:
    """Start `coro` on the background loop; never blocks."""
    try:
        loop = get_loop()
    except Unavailable:
        coro.close()
        raise
    return asyncio.run_coroutine_threadsafe(coro, loop)


def run(coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """The result of `coro`, run on the background loop while this thread waits.

    An interrupt (KeyboardInterrupt) is noticed within a quarter of a second and cancels `coro` only: what
    the orchestrator does goes on. Raises TimeoutError after `timeout` seconds. May be called
    from any thread but the background loop's own.
    """
    future = spawn(coro)
    try:
        remaining = timeout
        while True:
            step = TICK if remaining is None else min(TICK, remaining)
            try:
                return future.result(step)
            except FutureTimeout:
                if future.done():
                    return future.result()  # the coroutine's own TimeoutError, or a result just in time
                if remaining is not None:
                    remaining -= step
                    if remaining <= 0:
                        raise TimeoutError(f"no answer within {timeout:g} s") from None
    finally:
        if not future.done():
            future.cancel()


async def await_future(future: Future[T]) -> T:
    """Wait for `future` on the caller's own loop, waking often enough to notice an interrupt.

    Cancelling this cancels `future`.
    """
    wrapped = asyncio.wrap_future(future)
    try:
        while not wrapped.done():
            await asyncio.wait({wrapped}, timeout=TICK)
        return wrapped.result()
    finally:
        if not wrapped.done():
            with suppress(Exception):
                wrapped.cancel()
