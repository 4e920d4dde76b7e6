"""diskcache, hardened into a durable store that knows JSON only.

diskcache is a cache: by default it deletes data past 1 GB, unpickles what it finds (CVE-2025-69872, which has
no fixed release; its own JSONDisk is affected too), and commits without waiting for the disk. `JsonDisk`
refuses every row that it did not write itself, before anything looks at the payload.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from diskcache import Cache, Disk
from diskcache.core import ENOVAL, MODE_PICKLE, MODE_RAW, UNKNOWN

from po_jupyter.platform import private_dir, private_file
from po_jupyter.store.diagnosis import make
from po_jupyter.store.json_codec import Unreadable, decode, encode, pack, plain, unpack

_SMALL_HEAD = 1000  # bytes, below which a head is not compressed
BUSY = 30.0  # seconds that a transaction waits for another process's

SETTINGS: dict[str, Any] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_auto_vacuum": 1,  # FULL: the file shrinks when runs are deleted. Only a new database takes it
    "sqlite_journal_mode": "wal",
    "sqlite_synchronous": 2,  # FULL: a commit that was answered is on the disk
    # diskcache's own are 32 MB of pages and 64 MB of mapped file for each shard of each process, which a map of
    # 100,000 rows fills with records that nobody reads again.
    "sqlite_cache_size": 500,  # pages, 2 MB
    "sqlite_mmap_size": 0,
    "sqlite_busy_timeout": int(BUSY * 1000),  # SQLite's own polite waiting, on every connection
    # Every value stays inside SQLite and its transactions: diskcache writes large ones to files without fsync.
    "disk_min_file_size": 2**62,
}


_WHOLE = "po_jupyter_whole"  # the setting that says that everything else was made
# What a cache keeps up to date with each write and a store never asks for: counters, and who expires next.
_UNNEEDED = (
    "TRIGGER IF EXISTS Settings_count_insert",
    "TRIGGER IF EXISTS Settings_count_delete",
    "TRIGGER IF EXISTS Settings_size_insert",
    "TRIGGER IF EXISTS Settings_size_update",
    "TRIGGER IF EXISTS Settings_size_delete",
    "INDEX IF EXISTS Cache_expire_time",
)
_of_disk = {"min_file_size": SETTINGS["disk_min_file_size"]}


class RefusedRow(Unreadable):
    """A row that JsonDisk did not write."""


class JsonDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Text keys and JSON values, nothing else, in either direction.

    With `read=True` a value is fetched as JSON text, not decoded.
    """

    def put(self, key: Any) -> tuple[str, bool]:
        """A key as diskcache stores it: text."""
        if type(key) is not str:
            raise TypeError(f"a key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """A stored key. Raises RefusedRow for one that is pickled or not text."""
        if raw != 1 or type(key) is not str:
            raise RefusedRow("has a key that is pickled or not text; it is not loaded")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, None, sqlite3.Binary]:
        """A value as diskcache stores it: packed JSON, inside SQLite."""
        text = encode(value)
        # A head is written with each commit, and read before: to compress it would be a third of the work.
        is_head = type(key) is str and key.startswith("head/") and len(text) < _SMALL_HEAD
        return 0, MODE_RAW, None, sqlite3.Binary(plain(text) if is_head else pack(text))

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> Any:
        """A stored value. Raises RefusedRow for one that this class did not write."""
        if mode == MODE_PICKLE:
            raise RefusedRow("claims to be a pickle; it is not loaded")
        if mode != MODE_RAW or filename is not None or type(value) is not bytes:
            raise RefusedRow("was not written by po_jupyter; it is not loaded")
        text = unpack(value)
        return text if read else decode(text)

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> NoReturn:
        """Never: no value is written to a file of its own."""
        raise AssertionError("values stay inside SQLite")

    def remove(self, file_path: str) -> None:
        """A row may name any file of this machine; it is not ours, so it is not deleted either."""


class ShardCache(Cache):  # type: ignore[misc]  # diskcache has no types
    """A `Cache` that is made once and then opens in less than 1 ms.

    The base class makes its tables and rewrites each of its settings at every opening, in a transaction each,
    then closes and opens its connection again (which, for the only one, is a checkpoint). Here a shard that was
    made whole, with these settings, is only connected to. When one is made a setting is applied once, and the
    connection is kept; it becomes durable (FULL) before anybody can use it. NORMAL, not OFF, until
    then: with OFF a checkpoint that happens to fall into the opening would not reach the disk.
    """

    settings: ClassVar[Mapping[str, Any]] = SETTINGS
    patience = BUSY
    has_head_index = False  # as far as this process knows; see `head_index`
    _opening = False

    def __init__(self, directory: Path) -> None:
        """Connect to the shard in `directory`, making it first where it is not whole."""
        self._directory = str(directory)
        self._timeout = self.patience
        self._local = threading.local()
        self._txn_id = None
        try:
            self._open()
        except BaseException:
            super().close()  # the error may be kept for long, and its traceback the connection
            raise

    def _open(self) -> None:
        if self._is_whole():
            self._disk = JsonDisk(self._directory, **_of_disk)
            for name, value in self.settings.items():
                setattr(self, name, value)
            return
        self.close()
        self._opening = True
        super().__init__(self._directory, timeout=self.patience, disk=JsonDisk, **self.settings)
        for unneeded in _UNNEEDED:
            self._sql(f"DROP {unneeded}")
        self._sql("INSERT OR REPLACE INTO Settings VALUES (?, 1)", (_WHOLE,))
        self._opening = False
        self.reset("sqlite_synchronous", self.settings["sqlite_synchronous"], update=False)

    def _is_whole(self) -> bool:
        try:
            settings = dict(self._sql("SELECT key, value FROM Settings").fetchall())
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # that one: there is no such table yet
                raise
            return False
        return _WHOLE in settings and self.settings.items() <= settings.items()

    def read_rows(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """The values that there are, in one query; in the place of one that cannot be read the Unreadable."""
        marks = ",".join("?" * len(keys))
        sql = f"SELECT key, mode, filename, value FROM Cache WHERE raw = 1 AND key IN ({marks})"  # noqa: S608 - marks are question marks
        for key, mode, filename, value in self._sql(sql, tuple(keys)).fetchall():
            try:
                yield key, self._disk.fetch(mode, filename, value, False)
            except Unreadable as error:
                yield key, error

    def put(self, key: str, value: Any, *, count: int = 0) -> None:
        """`set` in one statement instead of two, for use inside a transaction only. `count` is added to the row's
        `access_count`, which diskcache uses for nothing here."""
        db_key, raw = self._disk.put(key)
        _, mode, _, db_value = self._disk.store(value, False, key)
        self._sql(
            "INSERT INTO Cache (key, raw, mode, value, access_count) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key, raw) DO UPDATE SET mode = excluded.mode, value = excluded.value,"
            " expire_time = NULL, filename = NULL, access_count = Cache.access_count + excluded.access_count",
            (db_key, raw, mode, db_value, count),
        )

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """See diskcache; while the shard is made nothing is written twice."""
        if self._opening and value is not ENOVAL:
            update = False  # `__init__` has just written it
            if key == "sqlite_synchronous":
                value = 1
        return super().reset(key, value, update)

    def close(self) -> None:
        """See diskcache; while the shard is made its connection is kept."""
        if not self._opening:
            super().close()

    @property
    def file(self) -> Path:
        """The database, for messages."""
        return Path(self.directory) / "cache.db"


C = TypeVar("C", bound=ShardCache)


def open_shard(directory: Path) -> ShardCache:
    """The shard in `directory`, made when it is not there (0700, its files 0600)."""
    return open_as(ShardCache, directory)


def open_as(kind: type[C], directory: Path) -> C:
    """The same with the settings of another kind of shard."""
    if not directory.is_dir():
        make(directory)
    # SQLite gives its journal files the mode of the database, so it is enough to make that one ourselves. No
    # umask: it belongs to the whole process, with all its threads.
    # Only a file that is not there yet: to close any descriptor of an existing one would give up the locks that
    # other connections of this process hold on it, and another process could delete its write-ahead log.
    file = directory / "cache.db"
    try:
        os.close(private_file.open_new(file))
    except FileExistsError:
        _writable(file)
    return kind(directory)


def _writable(file: Path) -> None:
    """Raises the OSError that opening the file for writing would raise, without opening it."""
    if not os.access(file, os.W_OK):
        code = errno.EROFS if private_dir.is_read_only(file) else errno.EACCES
        raise OSError(code, os.strerror(code), str(file))


def exists(directory: Path) -> bool:
    """Whether there is a shard in `directory`."""
    return (directory / "cache.db").exists()
