"""Answers of models that are kept for later runs: a cache, so here losing a row loses nothing.

One diskcache of JSON in a directory of its own, under the rules of `jsondisk` (no pickle, private, all in SQLite)
but two: a commit does not wait for the disk, and the oldest rows are deleted when there are too many. A row is
written whole or not at all and never changed in place, so that row ids are in the order of time.

A worker never sees an error. A cache that cannot be used knows nothing and keeps nothing; the log says so once. Who
counts or clears answers hears of it.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import structlog
from diskcache import Timeout
from diskcache.core import MODE_RAW

from po_jupyter.model.values.json import JsonObject
from po_jupyter.store import diagnosis
from po_jupyter.store.disk.json_disk import SETTINGS, ShardCache, exists, open_as
from po_jupyter.store.json_codec import Unreadable, encode, pack
from po_jupyter.store.packed_answer import PackedAnswer

T = TypeVar("T")
_Row = tuple[str, float, int, bytes]  # key, time, mode, value

_DAY = 86_400.0
_PATIENCE = 2.0  # s that a transaction waits for another process's; then its rows are not kept
_PAUSE = 60.0  # s until a cache that could not be used is tried again
_AT_ONCE = 500  # keys of one SELECT, rows of one DELETE
_ROOM = 0.9  # of the bound, that is left once rows had to go
_SHARE = 0.1  # of the bound, that one answer may take

_log = structlog.get_logger(__name__)
_FAILURES = (sqlite3.Error, Timeout, OSError)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


_FIND = "SELECT key, mode, filename, value FROM Cache WHERE raw = 1 AND store_time >= ? AND key IN (%s)"
_MEASURE = "SELECT COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM Cache WHERE ? = '' OR (key >= ? AND key < ?)"
_PAGE = (
    "SELECT rowid, key, store_time, value FROM Cache WHERE raw = 1 AND rowid > ? AND mode = ? AND filename IS NULL"
    " AND typeof(value) = 'blob' ORDER BY rowid LIMIT ?"
)
_CLEAR = "DELETE FROM Cache WHERE ? = '' OR (key >= ? AND key < ?)"


class _Shard(ShardCache):
    settings: ClassVar[Mapping[str, Any]] = {
        **SETTINGS,
        "sqlite_synchronous": 1,
        "sqlite_cache_size": 1000,  # pages, 4 MB: rows are looked at once
        "sqlite_busy_timeout": int(_PATIENCE * 1000),
    }
    patience = _PATIENCE

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._sql(statement, values).fetchall()
        return rows

    def insert(self, rows: Iterable[_Row], conflict: Literal["REPLACE", "IGNORE"] = "REPLACE") -> None:
        self._con.executemany(
            f"INSERT OR {conflict} INTO Cache (key, raw, store_time, mode, value) VALUES (?, 1, ?, ?, ?)",  # noqa: S608 - two constants
            rows,
        )

    def read(self, mode: Any, filename: Any, value: Any) -> Any:
        return self._disk.fetch(mode, filename, value, False)

    @property
    def bytes(self) -> int:
        ((pages,),) = self.sql("PRAGMA page_count")
        ((size,),) = self.sql("PRAGMA page_size")
        return int(pages) * int(size)


class AnswerCache:
    """The cache in `directory`, at most `max_bytes` large; rows older than `days` (0: any age) are not found.

    It blocks. An instance belongs to one thread, which also closes it; any number of processes may share the
    directory. Values are JSON objects.
    """

    def __init__(self, directory: Path, *, max_bytes: int, days: float = 0) -> None:
        """See the class. Nothing is opened before the first use."""
        self._directory = directory
        self._max_bytes = max_bytes
        self._days = days
        self._shard: _Shard | None = None
        self._pause_until = 0.0
        self._has_warned = False

    # -- for workers ----------------------------------------------------------------------------
    def find(self, keys: Sequence[str]) -> dict[str, JsonObject]:
        """The values of those keys that have one."""
        values: dict[str, JsonObject] = {}
        for i in range(0, len(keys), _AT_ONCE):
            some = keys[i : i + _AT_ONCE]
            values.update(self._try(lambda: self._find(some)) or {})  # noqa: B023  # called at once
        return values

    def keep(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Put all rows, in one transaction."""
        now = time.time()
        packed: list[_Row] = []
        for key, value in rows:
            blob = pack(encode(value))
            if len(blob) <= self._max_bytes * _SHARE:
                packed.append((key, now, MODE_RAW, blob))
        if packed:
            self._try(lambda: self._keep(packed))

    def close(self) -> None:
        """Disconnect; the next use connects again."""
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.close()

    # -- maintenance ----------------------------------------------------------------------------
    def prepare(self) -> None:
        """Make the cache when it is not there, or is damaged; delete what is too old or too much."""
        self._try(lambda: self._with_repair(lambda: self._trim(self._open())))

    def clear(self, prefix: str = "") -> int:
        """Delete every row whose key begins with `prefix`; their number. Raises StoreUnusable."""
        return self._maintain(lambda: self._with_repair(lambda: self._clear(prefix)), 0)

    def measure(self, prefix: str = "") -> tuple[int, int]:
        """The number of rows whose key begins with `prefix`, and the bytes of their values; none in a damaged file,
        which is made anew with the next clearing. Raises StoreUnusable."""

        def count() -> tuple[int, int]:
            try:
                ((rows, size),) = self._open().sql(_MEASURE, *_range(prefix))
            except _FAILURES as error:
                if not _is_damage(error):
                    raise
                self.close()
                return 0, 0
            return int(rows), int(size)

        return self._maintain(count, (0, 0))

    def pages(self) -> Iterator[list[PackedAnswer]]:
        """All rows, in pages, the oldest first; none of a damaged file. Raises StoreUnusable."""
        last = 0

        def read() -> list[tuple[Any, ...]]:
            try:
                return self._open().sql(_PAGE, last, MODE_RAW, _AT_ONCE)
            except _FAILURES as error:
                if not _is_damage(error):
                    raise
                self.close()
                return []

        none: list[tuple[Any, ...]] = []
        while rows := self._maintain(read, none):
            yield [PackedAnswer(*row[1:]) for row in rows]
            last = rows[-1][0]

    def add(self, rows: Sequence[PackedAnswer]) -> None:
        """Put rows as they are in another cache; those that are here stay. Raises StoreUnusable."""

        def write() -> None:
            shard = self._open()
            with shard.transact():
                shard.insert(((key, at, MODE_RAW, body) for key, at, body in rows), "IGNORE")

        self._checked(write)

    # -- inside ---------------------------------------------------------------------------------
    def _open(self) -> _Shard:
        if self._shard is None:
            self._shard = open_as(_Shard, self._directory)
        return self._shard

    def _find(self, keys: Sequence[str]) -> dict[str, JsonObject]:
        if self._shard is None and not exists(self._directory):
            return {}
        shard = self._open()
        oldest = time.time() - self._days * _DAY if self._days else 0.0
        values = {}
        for key, mode, filename, value in shard.sql(_FIND % ", ".join("?" * len(keys)), oldest, *keys):
            try:
                stored = shard.read(mode, filename, value)
            except Unreadable as error:
                self._warn_once(f"a row {error}")
                continue
            if type(stored) is dict:
                values[key] = stored
        return values

    def _keep(self, rows: list[_Row]) -> None:
        shard = self._open()
        with shard.transact():
            shard.insert(rows)
        if shard.bytes > self._max_bytes:
            self._trim(shard)

    def _trim(self, shard: _Shard) -> None:
        if self._days:
            oldest = time.time() - self._days * _DAY
            first = shard.sql("SELECT rowid FROM Cache WHERE store_time >= ? ORDER BY rowid LIMIT 1", oldest)
            end = first[0][0] if first else 2**62
            while self._delete(shard, f"WHERE rowid < {int(end)} ORDER BY rowid", _AT_ONCE):
                pass
        used = shard.bytes
        if used <= self._max_bytes:
            return
        ((count,),) = shard.sql("SELECT COUNT(*) FROM Cache")
        share = 1 - self._max_bytes * _ROOM / used
        too_many = int(count * share) + 1
        while too_many > 0 and self._delete(shard, "ORDER BY rowid", min(_AT_ONCE, too_many)):
            too_many -= _AT_ONCE

    def _delete(self, shard: _Shard, which: str, most: int) -> bool:
        """Delete up to `most` rows; False when there were none. A transaction of its own: others write meanwhile."""
        with shard.transact():
            shard.sql(f"DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache {which} LIMIT ?)", most)  # noqa: S608 - two constants
            ((gone,),) = shard.sql("SELECT changes()")
        return bool(gone)

    def _clear(self, prefix: str) -> int:
        shard = self._open()
        with shard.transact():
            shard.sql(_CLEAR, *_range(prefix))
            ((gone,),) = shard.sql("SELECT changes()")
        shard.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(gone)

    def _maintain(self, work: Callable[[], T], nothing: T) -> T:
        """`work()`, or `nothing` where there is no cache. Raises StoreUnusable."""
        return self._checked(lambda: work() if exists(self._directory) else nothing)

    def _checked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            raise diagnosis.unusable_os(error, self._directory) from error
        except (sqlite3.Error, Timeout) as error:
            raise diagnosis.unusable(error, self._directory) from error

    def _with_repair(self, work: Callable[[], T]) -> T:
        """`work()`; when the file is damaged, once more with a new one. Disconnects at the end. Raises _FAILURES."""
        try:
            return work()
        except _FAILURES as error:
            if not _is_damage(error):
                raise
            self.close()
            _log.warning("the cache of answers was damaged and is made anew", path=str(self._directory))
            shutil.rmtree(self._directory, ignore_errors=True)
            return work()
        finally:
            self.close()

    def _try(self, work: Callable[[], T]) -> T | None:
        if time.monotonic() < self._pause_until:
            return None
        try:
            return work()
        except _FAILURES as error:
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        self.close()
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        elif diagnosis.is_busy(error):
            _log.debug("the cache of answers is busy", path=str(self._directory))
            return  # somebody else writes: this time nothing was kept
        else:
            reason = diagnosis.unusable(error, self._directory).message.partition("used: ")[2]
        self._pause_until = time.monotonic() + _PAUSE
        self._warn_once(reason)

    def _warn_once(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "answers of models are not cached",
                reason=reason,
                path=str(self._directory),
                hint="Calls are made as if there were no cache. `po clean --cache` empties it, or makes it anew.",
            )


def _is_damage(error: Exception) -> bool:
    sqlite_error = diagnosis.cause(error)
    return sqlite_error is not None and sqlite_error.sqlite_errorcode & 0xFF in _DAMAGED


def _range(prefix: str) -> tuple[str, str, str]:
    return prefix, prefix, prefix + "\x7f"
