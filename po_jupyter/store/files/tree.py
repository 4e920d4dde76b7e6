"""Files that are there as a whole or not at all, inside one directory that nothing leads out of.

A name comes from people, models and archives, so it is data: `a/b.json` means that file below the root and
never anything else. Every directory on the way is opened without following links (openat with O_NOFOLLOW), so
a link that somebody puts there later leads nowhere either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from po_jupyter.errors import InvalidInput, NotFound, StoreUnusable
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.platform.private_file import PRIVATE, PRIVATE_DIRECTORY
from po_jupyter.store import diagnosis

TEMPORARY = ".po-"  # how the name of a file begins that is being written; a crash leaves it behind
# Windows has no directory descriptors: there a path is checked step by step and then used as a whole.
AT: Final = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_atomic(path: Path, data: bytes | bytearray | memoryview, *, mode: int = PRIVATE) -> None:
    """Write `data` to `path`, durably: after a crash the old content is there or the new one, never a part.

    Its directories are made when missing (0700). Raises StoreUnusable (a full or read-only disk, missing
    rights, a limit); the old content is there then, and nothing else is left behind.
    """
    try:
        diagnosis.make(path.parent)
        with _opened(path.parent) as parent:
            _write(parent, path.parent, path.name, data, mode)
    except OSError as error:
        raise unusable(error, path, "written") from error


def _write(
    parent: int | None, location: Path, name: str, data: bytes | bytearray | memoryview, mode: int
) -> None:
    with _writing(parent, location, name, mode) as fd:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]


@contextlib.contextmanager
def _writing(parent: int | None, location: Path, name: str, mode: int) -> Iterator[int]:
    """The descriptor of a new file, which takes its name when the body ends well."""
    temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
    at = temporary if parent is not None else location / temporary
    fd = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=parent)
    try:
        try:
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        crashpoint("file.written")
        _rename(parent, location, temporary, parent, location, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(at, dir_fd=parent)
        raise
    crashpoint("file.renamed")
    sync(parent)


def _rename(from_fd: int | None, from_: Path, source: str, to_fd: int | None, to: Path, target: str) -> None:
    if from_fd is not None and to_fd is not None:
        os.replace(source, target, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    else:
        os.replace(from_ / source, to / target)


def sync(directory: int | None) -> None:
    """Make the names in an open directory durable; a power cut may undo a rename that was not synced."""
    if directory is not None:
        os.fsync(directory)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    """A descriptor of `directory`, which may be reached through links; None where there are none."""
    if not AT:
        yield None
        return
    fd = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        yield fd
    finally:
        os.close(fd)


def unusable(error: OSError, path: Path | str, what: str) -> StoreUnusable:
    """The StoreUnusable for `error`: what could not be done with `path`, and what to do."""
    hints = {
        errno.ENOSPC: "Free some space. Nothing was changed; the run can be resumed.",
        errno.EDQUOT: "Your quota is used up: free some space. Nothing was changed; the run can be resumed.",
        errno.EFBIG: "The file is larger than this system or its limits allow. Nothing was changed.",
        errno.EXDEV: "Both must be on one file system: a move between two cannot happen at once.",
        errno.EROFS: diagnosis.ELSEWHERE,
    }
    reason = {errno.ENOSPC: "the disk is full"}.get(error.errno or 0, error.strerror or str(error))
    return StoreUnusable(
        f"{path} cannot be {what}: {reason}",
        hint=hints.get(error.errno or 0, "Look at its rights and owner. Nothing was changed."),
        details={"path": str(path), "errno": errno.errorcode.get(error.errno or 0, "")},
    )


def parts_of(name: str) -> tuple[str, ...]:
    """The steps of a relative name with forward slashes. InvalidInput when one of them could lead elsewhere."""
    parts = tuple(name.split("/"))
    for part in parts:
        # A backslash or a colon separates on Windows; on other systems it is a letter that nobody misses.
        if part in ("", ".", "..") or "\0" in part or "\\" in part or (AT is False and ":" in part):
            raise InvalidInput(
                f"{name[:80]!r} is not the name of a file below a directory",
                hint='Use a relative name with forward slashes, for example "report/labels.json".',
            )
        if len(os.fsencode(part)) > 255:
            raise InvalidInput(f"{part[:40]!r}... is too long for the name of a file (255 bytes)")
    return parts


def same(one: list[int] | None, other: list[int] | None) -> bool:
    """True when two identities are of one file.

    Files restored from a copy have other inodes, and one that is still being edited has another time: one of
    the two is enough.
    """
    if not one or not other:
        return one is not None and one == other
    return one[0] == other[0] or one[1:] == other[1:]


class Tree:
    """The files below `root`. Names are relative with forward slashes; no link is followed below the root.

    Everything durable when it returns. Raises InvalidInput (a name that leads elsewhere, a link on its way),
    NotFound, StoreUnusable.
    """

    def __init__(self, root: Path) -> None:
        """See the class."""
        self.root = root

    def write(self, name: str, data: bytes, *, mode: int = PRIVATE) -> None:
        """Write a file, as `write_atomic`."""
        with self._errors(name, "written"), self._parent(name, make=True) as (fd, location, last):
            _write(fd, location, last, data, mode)

    def receive(self, name: str, pieces: Iterable[bytes], *, mode: int = PRIVATE) -> None:
        """Write a file as `write` does, from pieces that come one after the other; nothing when they raise."""
        with (
            self._errors(name, "written"),
            self._parent(name, make=True) as (fd, location, last),
            _writing(fd, location, last, mode) as file,
        ):
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(file, rest) :]

    def append(self, name: str, data: bytes, *, mode: int = PRIVATE) -> None:
        """Add to the end of a file, which is made when missing. Of a crash or a full disk a part may be
        left."""
        with self._errors(name, "written"), self._parent(name, make=True) as (fd, location, last):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FILE | getattr(os, "O_NONBLOCK", 0)
            file = os.open(last if fd is not None else location / last, flags, mode, dir_fd=fd)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise InvalidInput(f"{name[:80]!r} is not a regular file")
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            sync(fd)

    def open(self, name: str) -> BinaryIO:
        """A regular file, open for reading: close it. InvalidInput when it is anything else."""
        with self._errors(name, "read"), self._parent(name) as (fd, location, last):
            # O_NONBLOCK: a pipe that somebody put there is refused, not waited for.
            flags = os.O_RDONLY | _FILE | getattr(os, "O_NONBLOCK", 0)
            file = os.open(last if fd is not None else location / last, flags, dir_fd=fd)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                os.close(file)
                raise InvalidInput(f"{name[:80]!r} is not a regular file")
            return os.fdopen(file, "rb")

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """The content of a regular file. InvalidInput when it is anything else or longer than `limit` bytes."""
        with self._errors(name, "read"), self.open(name) as opened:
            data = opened.read() if limit is None else opened.read(limit + 1)
        if limit is not None and len(data) > limit:
            raise InvalidInput(f"{name[:80]!r} is larger than {limit} bytes")
        return data

    def identity(self, name: str) -> list[int] | None:
        """The identity of a file, which another one that takes its name later has not, for `same`; None: there is none.

        InvalidInput for a link and for anything that is neither file nor directory.
        """
        try:
            with self._errors(name, "read"), self._parent(name) as (fd, location, last):
                info = os.lstat(last if fd is not None else location / last, dir_fd=fd)
        except NotFound:
            return None
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            raise InvalidInput(f"{name[:80]!r} is a link or something special, not a file")
        if stat.S_ISDIR(info.st_mode):
            return []  # a directory changes with its content
        return [info.st_ino, info.st_size, info.st_mtime_ns]

    def stamp(self, name: str) -> list[int]:
        """`identity` with time of change (ns) and size: tells apart the contents that a name had. NotFound."""
        with self._errors(name, "read"), self._parent(name) as (fd, location, last):
            info = os.lstat(last if fd is not None else location / last, dir_fd=fd)
        return [info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size]

    def move(self, source: str, target: str) -> None:
        """Rename; a file of the name `target` is replaced. Its directories are made when missing."""
        with (
            self._errors(source, f"moved to {target}"),
            self._parent(source) as (from_fd, from_, old),
            self._parent(target, make=True) as (to_fd, to, new),
        ):
            _rename(from_fd, from_, old, to_fd, to, new)
            crashpoint("file.moved")
            # The new name first: of a power cut between the two, the file may be found twice, but never lost.
            sync(to_fd)
            sync(from_fd)

    def remove(self, name: str) -> bool:
        """Remove a file; False when there is none."""
        try:
            with self._errors(name, "removed"), self._parent(name) as (fd, location, last):
                os.unlink(last if fd is not None else location / last, dir_fd=fd)
                sync(fd)
        except NotFound:
            return False
        return True

    def names(self, directory: str) -> list[str]:
        """Sorted names in a directory ("" is the root); [] when there is none."""
        try:
            inside = f"{directory}/x" if directory else "x"
            with self._errors(directory, "read"), self._parent(inside) as (fd, location, _):
                return sorted(os.listdir(fd if fd is not None else location))
        except NotFound:
            return []

    @contextlib.contextmanager
    def _errors(self, name: str, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"there is no file {name[:80]!r} in {self.root}") from None
        except OSError as error:
            # ELOOP, and ENOTDIR of O_DIRECTORY, are how O_NOFOLLOW says that it met a link.
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidInput(
                    f"{name[:80]!r} leads over a link or through a file",
                    hint="Links are not followed: put the file itself there.",
                ) from None
            raise unusable(error, self.root / name, what) from error

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int | None, Path, str]]:
        """The open directory of `name`, its path, and the last step of the name."""
        *steps, last = parts_of(name)
        if make:
            diagnosis.make(self.root)
        if not AT:
            yield None, self._checked(steps, make), last
            return
        fd = os.open(self.root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            for step in steps:
                fd = _down(fd, step, make)
            yield fd, self.root.joinpath(*steps), last
        finally:
            os.close(fd)

    def _checked(self, steps: list[str], make: bool) -> Path:
        at = self.root
        for step in steps:
            at = at / step
            if at.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(at))
            if make:
                at.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        return at


def _down(fd: int, step: str, make: bool) -> int:
    """The descriptor of the directory `step` in `fd`, which is closed unless this raises."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(step, PRIVATE_DIRECTORY, dir_fd=fd)
            os.fsync(fd)
    below = os.open(step, os.O_RDONLY | _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return below


def sweep(directory: Path) -> int:
    """Remove the temporary files of interrupted writes in `directory`; their number. Only while nobody writes to it."""
    if not directory.is_dir() or directory.is_symlink():
        return 0
    with os.scandir(directory) as entries:
        temporary = [e for e in entries if e.name.startswith(TEMPORARY) and e.is_file(follow_symlinks=False)]
    paths = [entry.path for entry in temporary]
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return len(paths)
