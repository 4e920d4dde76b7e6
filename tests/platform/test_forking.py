"""Forks, and the ends of children with all that they left running. Real processes."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from po_jupyter.platform import forking

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not forking.HAS_FORK, reason="platform: no fork"),
]


def reaped(pid: int) -> int:
    deadline = time.monotonic() + 10
    while (status := forking.reap(pid)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return status


def test_a_child_that_ended_is_reaped_with_what_it_left_in_its_group() -> None:
    reading, writing = os.pipe()
    child = forking.fork_process()
    if child == 0:
        forking.lead_session()
        forking.reset_signals()
        left = os.fork()
        if left == 0:
            time.sleep(60)
            os._exit(0)
        os.write(writing, str(left).encode())
        time.sleep(0.2)
        os._exit(7)
    left = int(os.read(reading, 20))
    assert forking.reap(child) is None, "it still runs"
    assert reaped(child) == 7
    deadline = time.monotonic() + 5
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ChildProcessError):
        forking.reap(child)
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_child_that_was_killed_has_the_signal_as_its_status() -> None:
    child = forking.fork_process()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(child, signal.SIGKILL)
    assert reaped(child) == -9
