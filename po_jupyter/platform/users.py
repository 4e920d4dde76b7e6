"""Users of this machine: who this process belongs to, and whose a file is. Windows has neither number: there the
access lists of a person's own folders keep others out."""

from __future__ import annotations

import os
import stat
import sys

ROOT = 0


def current() -> int | None:
    """The number of the user of this process; None where users have none."""
    if sys.platform == "win32":
        return None
    else:
        return os.geteuid()


def is_mine(info: os.stat_result, *, or_root: bool = False) -> bool:
    """Whether a file is of this user (or, with `or_root`, of the system's); true where nobody can tell."""
    me = current()
    return me is None or info.st_uid == me or (or_root and info.st_uid == ROOT)


def is_open_to_others(info: os.stat_result) -> bool:
    """Whether another user may read or change the file, by its mode; false where files have none."""
    return current() is not None and bool(stat.S_IMODE(info.st_mode) & 0o077)


def anybody_may_write(info: os.stat_result) -> bool:
    """Whether everybody may change the file, by its mode; false where files have none."""
    return current() is not None and bool(info.st_mode & stat.S_IWOTH) and not stat.S_ISLNK(info.st_mode)
