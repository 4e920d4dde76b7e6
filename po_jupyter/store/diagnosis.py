"""Diagnosis of a store that cannot be used: full disks, rights, locks, damage, as errors for people."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from po_jupyter.errors import StoreError, StoreUnusable
from po_jupyter.platform.private_dir import ELSEWHERE, make, prepare, sync

_REASONS = {
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "Free some space. Nothing was changed; the run can be resumed.",
    ),
    sqlite3.SQLITE_READONLY: ("it cannot be written: it is read-only", ELSEWHERE),
    sqlite3.SQLITE_PERM: ("it may not be opened", ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Look at its rights, and whether its directory is there.",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk answers with an error",
        "Look at its health, quota and free space.",
    ),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "Restore it from a copy."),
    sqlite3.SQLITE_NOTADB: ("it is not a database", "Restore it from a copy."),
    sqlite3.SQLITE_BUSY: (
        "another process keeps it locked",
        "Look for a process that hangs; try again.",
    ),
}


def cause(error: BaseException) -> sqlite3.Error | None:
    """The first SQLite error behind `error`: diskcache hides it behind its Timeout, or a failed rollback."""
    sqlite_error: sqlite3.Error | None = None
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, sqlite3.Error) and getattr(at, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF != 1:
            sqlite_error = at
        at = at.__cause__ or at.__context__
    return sqlite_error


def is_busy(error: BaseException) -> bool:
    """True when another process has the lock, so that waiting helps."""
    sqlite_error = cause(error)
    return sqlite_error is None or sqlite_error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def unusable(error: BaseException, file: Path) -> StoreError:
    """The StoreError for an `error` of diskcache or SQLite, as text for people."""
    sqlite_error = cause(error)
    code = sqlite_error.sqlite_errorcode & 0xFF if sqlite_error is not None else sqlite3.SQLITE_BUSY
    what, hint = _REASONS.get(
        code, (f"SQLite says: {sqlite_error}", "If this happens again, please report it.")
    )
    return StoreUnusable(f"the store {file} cannot be used: {what}", hint=hint, details={"path": str(file)})


def unusable_os(error: OSError, directory: Path) -> StoreError:
    """The same for what the file system itself says."""
    return StoreUnusable(
        f"the store {directory} cannot be used: {error.strerror or error}",
        hint="Free some space; nothing was changed." if error.errno == errno.ENOSPC else ELSEWHERE,
        details={"path": str(directory)},
    )


__all__ = ["ELSEWHERE", "cause", "is_busy", "make", "prepare", "sync", "unusable", "unusable_os"]
