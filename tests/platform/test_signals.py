"""Signals: what a process may get, whatever the system."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from po_jupyter.platform.signals import name_of_end, on_reload, on_signal


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGHUP: a file that is watched tells as well"
)
async def test_a_service_is_told_that_its_configuration_changed() -> None:
    told = asyncio.Event()
    try:
        assert on_reload(told.set)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(told.wait(), 10)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def test_outside_of_the_main_thread_there_are_no_signals() -> None:
    async def inside() -> bool:
        return on_signal(signal.SIGTERM, lambda: None)

    assert await asyncio.to_thread(lambda: asyncio.run(inside())) is False


def test_what_ended_a_process_has_a_name() -> None:
    assert name_of_end(0) is None and name_of_end(3) is None
    assert name_of_end(-signal.SIGTERM) == "SIGTERM" and "memory" in str(name_of_end(-signal.SIGKILL))
    assert name_of_end(-200) == "signal 200"
