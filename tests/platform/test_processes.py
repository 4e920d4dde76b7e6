"""Identities of processes, and ending one with everything in its group. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from po_jupyter.platform import processes

pytestmark = pytest.mark.integration

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
# Starts another one in its own group, and says its pid.
PARENT = [
    sys.executable,
    "-S",
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n",
]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_an_identity_is_of_one_process_of_one_boot_of_one_host(process: subprocess.Popen[bytes]) -> None:
    identity = processes.identity_of(process.pid)
    assert processes.alive(identity)
    assert not processes.alive(None)
    assert not processes.alive({})
    assert not processes.alive({**identity, "created": 1.0}), "the pid is used again"
    assert not processes.alive({**identity, "boot": "an earlier one"})
    assert not processes.alive({**identity, "host": "elsewhere"})
    assert processes.is_local(identity) and not processes.is_local({**identity, "host": "elsewhere"})
    assert processes.myself()["pid"] == os.getpid() and processes.alive(processes.myself())


def test_a_zombie_does_not_live(process: subprocess.Popen[bytes]) -> None:
    identity = processes.identity_of(process.pid)
    process.kill()
    assert processes.wait_gone(identity, 5.0)
    assert process.returncode is None, "it was not reaped"
    assert not processes.end_group(identity)


def test_a_process_that_goes_on_is_waited_for_no_longer_than_said(process: subprocess.Popen[bytes]) -> None:
    assert not processes.wait_gone(processes.identity_of(process.pid), 0.05)


async def test_the_end_of_a_process_is_noticed(process: subprocess.Popen[bytes]) -> None:
    identity = processes.identity_of(process.pid)
    waiting = asyncio.create_task(processes.wait_for_exit(identity))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert processes.end_group(identity, signal.SIGTERM)
    async with asyncio.timeout(5):
        await waiting
        await processes.wait_for_exit(identity)  # of one that is gone already: at once


def test_its_whole_group_ends_and_so_does_what_it_left_behind() -> None:
    parent = subprocess.Popen(PARENT, start_new_session=True, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = processes.identity_of(int(parent.stdout.readline()))
    assert processes.end_leftovers(parent.pid) == 0, "it lives: nothing was left behind"
    assert processes.end_group(processes.identity_of(parent.pid))
    assert processes.wait_gone(child, 5.0)
    parent.wait()
    parent.stdout.close()

    parent = subprocess.Popen(PARENT, start_new_session=True, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = processes.identity_of(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert processes.alive(child)
    assert processes.end_leftovers(parent.pid) == 1
    assert processes.wait_gone(child, 5.0)


def test_nobody_is_ended_for_another_ones_pid(process: subprocess.Popen[bytes]) -> None:
    identity = processes.identity_of(process.pid)
    assert not processes.end_group({**identity, "created": 1.0})
    assert not processes.end_group(processes.myself())
    assert processes.alive(identity)


@pytest.fixture
def in_namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Has this process be in that pid namespace."""

    def enter(link: str) -> None:
        monkeypatch.setattr(processes, "_pid_namespace", lambda: link)
        processes.boot.cache_clear()

    yield enter
    monkeypatch.undo()
    processes.boot.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pid namespaces")
def test_processes_of_another_pid_namespace_are_of_another_boot(in_namespace: Callable[[str], None]) -> None:
    """Containers of one kernel and one hostname: a pid of one says nothing in the other."""
    in_namespace("pid:[4026531836]")
    initial = processes.boot()
    in_namespace("pid:[4026532001]")
    one = processes.myself()
    assert processes.alive(one)
    in_namespace("pid:[4026532002]")
    assert processes.boot() not in (initial, one["boot"])
    assert not processes.alive(one)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pid namespaces")
def test_identities_of_older_versions_are_read(in_namespace: Callable[[str], None]) -> None:
    """They have the id of the boot alone, in containers too."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        older = {**processes.myself(), "boot": file.read().strip()}
    in_namespace("pid:[4026531836]")
    assert processes.myself() == older
    in_namespace("pid:[4026532001]")
    assert processes.alive(older)
    in_namespace("")  # a kernel or sandbox that does not say
    assert processes.myself() == older
