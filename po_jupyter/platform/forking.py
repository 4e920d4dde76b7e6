"""Forks and what only processes that fork need: sessions, and the ends of children. Windows has none of it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

HAS_FORK = sys.platform != "win32" and hasattr(os, "fork")
# macOS has forks, but its frameworks (networking, Accelerate) may crash or hang in a child that did not exec.
IS_FORK_SAFE = HAS_FORK and sys.platform != "darwin"
_NONE = "this system has no fork"


def fork_process() -> int:
    """Fork; 0 in the child, its pid in the parent. Raises OSError."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        return os.fork()


def lead_session() -> None:
    """Have this fresh child lead a session and a group of its own."""
    if sys.platform != "win32":
        os.setsid()


def wake_for_children(wakeup: int) -> None:
    """Have a byte written to the descriptor, which does not block, when a child ends."""
    if sys.platform != "win32":
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)


def forget_children() -> None:
    """Have the system reap the children of this process."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def reset_signals() -> None:
    """In a child: react to signals as any process does, whatever its parent did."""
    if sys.platform != "win32":
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)


def reap(pid: int) -> int | None:
    """The exit status of a child that ended, None while it runs; what it left running in its group is ended before.
    Raises ChildProcessError when it is not (any more) a child of this process."""
    if sys.platform == "win32":
        raise ChildProcessError(_NONE)
    else:
        if hasattr(os, "waitid"):
            # Looked at before it is reaped: as long as it is a zombie its number is nobody else's, and what user code
            # left running in its group can be ended without hitting a stranger.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
