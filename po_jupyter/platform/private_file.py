"""Private files: made for their user alone, written whole or not at all, and locked between processes.

Windows has no modes: there a file is as private as the directory that it is in (`private_dir`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from po_jupyter.platform import file_lock

PRIVATE = 0o600  # the mode of a file
PRIVATE_DIRECTORY = 0o700
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_private(path: Path | str, flags: int) -> int:
    """A descriptor of a file, which is made for its user alone when `flags` has O_CREAT. No link is followed, and
    nothing is translated. Raises OSError."""
    return os.open(path, flags | _FLAGS, PRIVATE)


def open_log(path: Path | str) -> int:
    """A descriptor that writes to the end of a private file, which is made when missing. Raises OSError."""
    return open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def open_new(path: Path | str, *, like: int = 0) -> int:
    """A descriptor that writes to a private file that is not there yet; its user may also run it, when the mode `like`
    says that of another file. Raises FileExistsError, and another OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, for_user_alone(like))


def for_user_alone(mode: int) -> int:
    """The mode without what it lets other users do."""
    return mode & 0o700 | PRIVATE


def keep_private() -> None:
    """Have every file that this process and its children make be for its user alone."""
    os.umask(0o077)


def close_to_others(fd: int) -> None:
    """Take all rights of other users away from an open file. Raises OSError."""
    if sys.platform != "win32":
        os.fchmod(fd, PRIVATE)


def copy_mode(source: Path, target: Path | str) -> None:
    """Have `target` be for whom `source` is; for everybody to read, where there is no such file."""
    os.chmod(target, source.stat().st_mode & 0o7777 if source.exists() else 0o644)


def write_private(path: Path, text: str) -> None:
    """Write the file in a directory that is there. Raises OSError; the old content stays then."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file, one process at a time; waits for another holder. Raises OSError."""
    fd = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        file_lock.lock(fd)
        yield
    finally:
        os.close(fd)
