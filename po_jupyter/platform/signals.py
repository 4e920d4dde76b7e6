"""Signals: those that a process may get here, whatever the system, and what one that ended a process is called."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable


def on_signal(sig: signal.Signals, call: Callable[[], object]) -> bool:
    """Have `call()` run on the running loop at a signal; False where that cannot be: on Windows, whose loops handle
    none (an end is asked for over the link there), and outside of the main thread."""
    try:
        asyncio.get_running_loop().add_signal_handler(sig, call)
    except (NotImplementedError, RuntimeError, ValueError):
        return False
    return True


def on_reload(call: Callable[[], object]) -> bool:
    """Have `call()` run on the running loop at SIGHUP, by which a service is told that its configuration changed; False
    where there is no such signal."""
    return sys.platform != "win32" and on_signal(signal.SIGHUP, call)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C: in the server's terminal it is the server's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def on_continue(call: Callable[[], object]) -> None:
    """Have `call()` run when this process goes on after it was stopped. Windows tells nobody: a pause of a process
    counts as time there. Only in the main thread."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCONT, lambda *_: call())


def name_of_end(status: int) -> str | None:
    """What ended a process of that exit status, for people: a signal's name; None when it ended by itself. Windows
    knows no signals: there every status is the process's own."""
    if status >= 0:
        return None
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
