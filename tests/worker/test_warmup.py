"""R1.2: what a zygote does before it forks has to succeed, or every worker pays for it, or dies of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.orchestrator import ROOT

pytestmark = pytest.mark.integration

CODE = """
import asyncio, os, signal, tempfile, threading
from pathlib import Path
from po_jupyter.worker import warmup
from po_jupyter.worker import zygote
from po_jupyter.store.disk.store import DiskStore

zygote.preload()
before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(warmup._run(Path(folder)))
    print(threading.active_count(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1))
    print((sorted(os.listdir("/proc/self/fd")) if before else []) == before)
    store = DiskStore(Path(folder) / "store")
    print(store.head("0" * 22)["state"])
    store.close()
"""


def test_the_warm_up_does_its_run_and_leaves_no_thread_signal_or_descriptor() -> None:
    """A thread that lives on when the zygote forks would hold locks for ever in every worker."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "True", "-1", "True", "done"], done.stderr[-2000:]


FAILING = """
import threading
from po_jupyter.worker import warmup

async def no_disk(folder):
    raise OSError(28, "No space left on device")

async def a_thread(folder):
    threading.Thread(target=threading.Event().wait, name="left-behind", daemon=True).start()

async def a_mistake(folder):
    raise AttributeError("a mistake of ours")

warmup._run = no_disk
warmup.warm_up()
warmup._run = a_thread
warmup.warm_up()
warmup._run = a_mistake
warmup.warm_up()
"""


def test_what_keeps_the_warm_up_from_its_end_is_in_the_log_and_stops_nobody() -> None:
    """A failure that nobody sees makes every worker slow, or locks it, for as long as the server runs."""
    done = subprocess.run([sys.executable, "-c", FAILING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    disk, thread, *_ = done.stderr.splitlines()
    assert "the warm-up failed" in disk and "OSError" in disk and "No space left on device" in disk
    assert "left threads" in thread and "left-behind" in thread
    assert done.returncode == 0 and "a mistake of ours" in done.stderr
