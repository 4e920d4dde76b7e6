"""Open files of this process: how many descriptors it may still open. Windows limits none that matters here."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_OPEN = ("/proc/self/fd", "/dev/fd")  # Linux, macOS


def limit() -> int | None:
    """The most descriptors that this process may have; None where nothing limits them."""
    if sys.platform != "win32":
        with suppress(ImportError, OSError, ValueError):
            import resource

            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return None if soft == resource.RLIM_INFINITY else soft
    return None


def raise_limit(most: int) -> None:
    """Let this process and its children have that many descriptors, when the system lets it."""
    if sys.platform != "win32":
        with suppress(ImportError, OSError, ValueError):
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
            if soft != resource.RLIM_INFINITY and soft < wanted:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def left() -> int | None:
    """The descriptors that may still be opened; 0 where none is left even to count them, None where nothing limits
    them or nobody can tell."""
    most = limit()
    if most is None:
        return None
    for directory in _OPEN:
        try:
            return max(0, most - len(os.listdir(directory)))
        except FileNotFoundError:
            continue
        except OSError:
            return 0
    return None
