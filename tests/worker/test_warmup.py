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
