"""The archive of `po backup`: a gzipped tar of a data directory, with its manifest as the last member.

store/documents/cache.db ...   the store, held by nobody
runs/RUN/..., blobs/..., ...   files, those of runs that are in the store
po-backup.json                 the manifest: an archive without it is not whole
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Final, NotRequired, TypedDict

from po_jupyter.engine.files.artifacts import ARTIFACTS, SEED_FILES
from po_jupyter.platform import private_file
from po_jupyter.store.disk.snapshot import StoreCounts
from po_jupyter.store.files.tree import TEMPORARY

VERSION = 1  # grows when an older program cannot restore the archive any more
MANIFEST: Final = "po-backup.json"
STORE: Final = "store"
WRITTEN_ONCE = frozenset({ARTIFACTS, SEED_FILES})  # in the directory of a run: copied byte by byte
_SQLITE = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")  # of a database: its copy has what is in them
_IN_MEMORY = 2**24  # bytes of a file that are read before they are written, without a file between


class FileCounts(TypedDict):
    """The number of the files beside the store, and their bytes."""

    files: int
    bytes: int


class BackupManifest(TypedDict):
    """The last member of an archive. `deleted` are runs that went away while their files were copied."""

    version: int
    po_jupyter: str
    made_at: str
    store: StoreCounts
    files: FileCounts
    deleted: list[str]


class BackupReport(TypedDict):
    """A backup that was made, or restored: `archive` and `data_dir` are paths, `bytes` the size of the archive;
    `passed_over` names what is neither a file nor a directory."""

    archive: str
    data_dir: str
    bytes: int
    made_at: str
    store: StoreCounts
    files: FileCounts
    passed_over: NotRequired[list[str]]


def _opened(path: Path) -> IO[bytes]:
    """A regular file, open for reading: no link is followed, and nothing waits for a pipe."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return os.fdopen(fd, "rb")


def is_database(path: Path) -> bool:
    """Whether it is a file that looks like an SQLite database."""
    try:
        with _opened(path) as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


class ArchiveWriter:
    """The archive at `path` while it is written. `copies` stand for databases; one without is left out, because it is
    newer than what was copied.

    A file that changes meanwhile is in it as it was when it was read. `files` are counted without the store.
    """

    def __init__(self, path: Path, copies: Mapping[Path, Path]) -> None:
        """Nothing is written yet."""
        self._path = path
        self._copies = copies
        self.files: FileCounts = {"files": 0, "bytes": 0}
        self.passed_over: list[str] = []

    def __enter__(self) -> ArchiveWriter:
        """Begin the file: for its user alone, because keys are in it."""
        self._raw = os.fdopen(private_file.open_new(self._path), "wb")
        self._tar = tarfile.open(fileobj=self._raw, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the file, durably, unless there was an error."""
        try:
            # Also after an error, or the compressor would write to the closed file when it is collected.
            self._tar.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
        except OSError:
            if error is None:
                raise
        finally:
            self._raw.close()

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a file with this content, which is not counted."""
        self._add(name, BytesIO(data), len(data), private_file.PRIVATE, time.time())

    def add_tree(self, path: Path, name: str) -> None:
        """Add a file, or a directory with all that is in it; nothing where there is none."""
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                self._add_directory(name)
                for entry in sorted(os.listdir(path)):
                    self.add_tree(path / entry, f"{name}/{entry}")
            elif stat.S_ISSOCK(mode):
                pass  # where an orchestrator is spoken to; it holds nothing
            elif not stat.S_ISREG(mode):
                self.passed_over.append(name)
            elif not path.name.startswith(TEMPORARY):  # those are half-written
                self._add_file(path, name)
        except FileNotFoundError:
            pass  # gone meanwhile: no list in the copy of the store has it, or `deleted` has its run

    def _add_directory(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, private_file.PRIVATE_DIRECTORY
        self._tar.addfile(info)

    def _add_file(self, path: Path, name: str) -> None:
        parts = name.split("/")
        in_store = parts[0] == STORE
        copied_whole = in_store or (parts[0] == "runs" and not WRITTEN_ONCE.isdisjoint(parts[2:3]))
        if not copied_whole and (
            self._is_of_database(path) or (path not in self._copies and is_database(path))
        ):
            return
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._path.parent)) as whole:
            with _opened(self._copies.get(path, path)) as file:
                modified = os.fstat(file.fileno()).st_mtime
                shutil.copyfileobj(file, whole)
            size = whole.tell()
            whole.seek(0)
            self._add(name, whole, size, path.lstat().st_mode, modified)
        if not in_store:
            self.files["files"] += 1
            self.files["bytes"] += size

    def _is_of_database(self, path: Path) -> bool:
        ends = (suffix for suffix in _BESIDE if path.name.endswith(suffix))
        return any(is_database(path.with_name(path.name.removesuffix(end))) for end in ends)

    def _add(self, name: str, file: IO[bytes], size: int, mode: int, modified: float) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, private_file.for_user_alone(mode), modified
        self._tar.addfile(info, file)
