"""The end of headless orchestrators that a test started."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil

from po_jupyter.platform.processes import started_at


def stop_process(pid: int) -> None:
    """Terminate the process and wait for it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    assert not started_at(pid, None)
