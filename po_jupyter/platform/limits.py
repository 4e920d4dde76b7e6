"""Limits of a process, which the system keeps: time of the processor, time at all, memory.

Windows has none that a process could set for itself: whoever starts one there has to watch it and to end it.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG


def limit_process(*, cpu: int, wall: int, memory: int) -> None:
    """Have the system end this process when it takes more seconds of the processor or at all, or more bytes beside
    what is loaded; on Linux also when its parent ends. Other processes go first. Nothing on Windows."""
    if sys.platform != "win32":
        import resource

        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(wall)
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        with suppress(OSError, ValueError):
            with open("/proc/self/statm", encoding="ascii") as file:
                loaded = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (loaded + memory, loaded + memory))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)


def be_nice(steps: int) -> None:
    """Let other processes go first, where a process can say so."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(steps)
