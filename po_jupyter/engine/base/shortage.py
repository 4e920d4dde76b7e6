"""Shortages of the machine: a full disk, no descriptors. They are no failure of the task that meets them.

A task that met one waits, as the store does: its attempt is not spent, and what is recorded answers when it goes on.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

from po_jupyter.errors import PoError, StoreUnusable

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or some files where it has no inodes left."),
    errno.EDQUOT: ("your quota is used up", "Free some space."),
    errno.EMFILE: ("this process may not open more files", "Close files, or raise `ulimit -n`."),
    errno.ENFILE: ("this machine may not open more files", "End what keeps many files open."),
}
_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_DEEPEST = 10


def shortage_of(error: BaseException) -> StoreUnusable | None:
    """The shortage behind `error`, of which it may be a consequence; None: the machine has what it needs."""
    message = ""
    for cause in _causes(error):
        if isinstance(cause, PoError):
            message = message or cause.message
        elif isinstance(cause, OSError) and cause.errno in _REASONS:
            reason, hint = _REASONS[cause.errno]
            where = f"{cause.filename}: " if cause.filename is not None else ""
            return _error(message or f"{where}{reason}", hint)
        elif isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE:
            return _error(message or f"a database cannot be written: {cause}", _REASONS[errno.ENOSPC][1])
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _error(message: str, hint: str) -> StoreUnusable:
    return StoreUnusable(message, hint=hint)
