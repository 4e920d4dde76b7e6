"""Locks on files between processes; the system gives one back when its holder dies, or closes the file."""

from __future__ import annotations

import sys
import time

_PAUSE = 0.05  # s between tries, where a lock cannot be waited for

if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int) -> bool:
        """Lock the open file for this process; False while another one has it."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def lock(fd: int) -> None:
        """Lock the open file for this process, and wait until no other has it."""
        while not try_lock(fd):
            time.sleep(_PAUSE)

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Lock the open file for this process; False while another one has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def lock(fd: int) -> None:
        """Lock the open file for this process, and wait until no other has it."""
        fcntl.flock(fd, fcntl.LOCK_EX)
