"""The background loop: beside a kernel's own, under nest_asyncio, after a fork, and interruptible."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from po_jupyter.client import background_loop as loop
from po_jupyter.errors import Unavailable


async def double(value: int) -> int:
    await asyncio.sleep(0)
    assert asyncio.current_task() is not None
    return value * 2


def test_a_call_blocks_for_its_result() -> None:
    """From a thread without a loop."""
    assert loop.run(double(21)) == 42
    assert loop.get_loop() is loop.get_loop()


async def test_it_works_inside_of_a_running_loop() -> None:
    """A notebook's cell is inside of one; asyncio.run would refuse."""
    assert loop.run(double(2)) == 4
    assert await loop.await_future(loop.spawn(double(3))) == 6


def test_a_timeout_is_a_timeout_and_cancels() -> None:
    """The coroutine does not go on unseen."""
    cancelled = threading.Event()

    async def sleeper() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.1 s"):
        loop.run(sleeper(), 0.1)
    assert time.monotonic() - started < 2
    assert cancelled.wait(2)


def test_a_coroutines_own_timeout_error_comes_through() -> None:
    """It is not taken for the tick of the wait."""

    async def fails() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        loop.run(fails())


def test_an_interrupt_is_noticed_and_cancels_only_the_wait() -> None:
    """P12: KeyboardInterrupt detaches."""
    cancelled = threading.Event()

    async def sleeper() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(sleeper())
    assert cancelled.wait(2)
    timer.join()


async def test_cancelling_a_bring_cancels_what_it_waits_for() -> None:
    """`await run` in a task that is cancelled leaves nothing behind."""
    started, cancelled = threading.Event(), threading.Event()

    async def sleeper() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    task = asyncio.create_task(loop.await_future(loop.spawn(sleeper())))
    await asyncio.to_thread(started.wait)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(cancelled.wait, 2)


def in_a_process(code: str) -> str:
    """Another process, since these change the interpreter for good."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.integration
def test_nest_asyncio_of_another_library_changes_nothing(first: bool) -> None:
    """FINDINGS: it patches the loop's class and the tasks in place, before or after we start."""
    apply = "import nest_asyncio; main = asyncio.new_event_loop(); nest_asyncio.apply(main)"
    start = "from po_jupyter.client import background_loop as loop; loop.run(asyncio.sleep(0))"
    code = f"""
import asyncio
{apply if first else start}
{start if first else apply}
async def inner():
    assert asyncio.current_task() is not None
    async with asyncio.timeout(5):
        lock = asyncio.Lock()
        async with lock:
            await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(5)))
    return 7
async def outer():
    return loop.run(inner()), await loop.await_future(loop.spawn(inner()))
assert type(loop.get_loop())._run_once is asyncio.BaseEventLoop._run_once
print(main.run_until_complete(outer()))
"""
    assert in_a_process(code) == "(7, 7)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
@pytest.mark.integration
def test_a_forked_child_gets_a_loop_of_its_own() -> None:
    """Users fork (multiprocessing); the thread of the parent is not there."""
    code = """
import asyncio, os, warnings
warnings.simplefilter("ignore")
from po_jupyter.client import background_loop as loop
from po_jupyter.errors import Unavailable
async def f(): return 5
assert loop.run(f()) == 5
pid = os.fork()
if pid == 0:
    os._exit(0 if loop.run(f(), 5) == 5 else 1)
_, status = os.waitpid(pid, 0)
assert loop.run(f()) == 5
print(status)
"""
    assert in_a_process(code) == "0"


def test_a_process_without_a_thread_left_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """C8: `can't start new thread` was a traceback of the command line."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def never() -> None:
        raise AssertionError

    monkeypatch.setattr(loop, "_loop", None)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(Unavailable, match="can't start new thread"):
        loop.run(never())
