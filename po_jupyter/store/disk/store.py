"""The default store: rows in diskcache shards (SQLite) in one private directory of one machine.

    PATH/documents/cache.db    format, documents, idempotency keys
    PATH/runs-0/cache.db ...   the runs, each wholly in one shard

A shard is opened when it is first needed, in a thread of its own that does all its work. SQLite's connections
belong to threads, and a server's thread pool would otherwise keep shards x threads of them open, with three
files each, and nobody able to close them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, TypeVar

from diskcache import Timeout

from po_jupyter.errors import CorruptRow, StoreUnusable
from po_jupyter.model.run.view import ENDED
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store import diagnosis
from po_jupyter.store.commit_lane import CommitLane
from po_jupyter.store.disk import head_index, migrations
from po_jupyter.store.disk.empty_shard import EmptyShard
from po_jupyter.store.disk.json_disk import BUSY, SETTINGS, ShardCache, exists, open_shard
from po_jupyter.store.json_codec import Unreadable
from po_jupyter.store.keyed import run_log
from po_jupyter.store.keyed.listing import HeadChunk, WantedRuns
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import DOCUMENTS, KeyedStore
from po_jupyter.store.protocol import Head

T = TypeVar("T")
_FILE_CLOCK = 2_000_000_000  # ns; of some file systems the times of files are as coarse as that
_AT_ONCE = 500  # keys of one query; SQLite takes at least 999
_inherited: list[object] = []  # what a forked child got from its parent and must neither use nor close


class DiskStore(KeyedStore):
    """A `Store` in the directory `path`, shared by every process of one user on one machine.

    `shards` counts for a new store; an existing one keeps its own number. `patience` is how long, in seconds, a
    write waits for other processes. After `close()` the object can be used again, also in a forked child: close
    before the fork, because SQLite's connections do not survive it.

    Raises StoreUnusable for a directory that cannot hold a store: on a network file system (unless
    `allow_network`), of another user, read-only, or written by a newer version. With `checked` all that is
    known already, and `shards` is the store's own number: a worker opens what its orchestrator has open.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shards: int = 8,
        patience: float = 2 * BUSY,
        allow_network: bool = False,
        checked: bool = False,
    ) -> None:
        """See the class. Opens the format of the store, and migrates it, unless `checked`."""
        super().__init__(shards)
        self.path = Path(path).absolute()
        self._patience = patience
        self._lock = Lock()
        self._pid = os.getpid()
        self._threads: dict[int, _ShardThread] = {}
        self._lanes: dict[int, CommitLane[Any]] = {}
        self._checked = checked
        # The documents' files, when the format was read; None: it is to be read.
        self._format_seen: tuple[tuple[int, int, int], ...] | None = None
        if checked:
            return
        diagnosis.prepare(self.path, allow_network=allow_network)
        try:
            self._open_format()
        except BaseException:
            self.close()
            raise

    def _open_format(self) -> None:
        steps = migrations.MIGRATIONS
        row = self._at(DOCUMENTS, lambda shard: shard.read(migrations.ROW))
        if row is None:
            row = self._at(
                DOCUMENTS, partial(migrations.read_or_create, shards=self.shards, migrations=steps), write=True
            )
        where = str(self.path)
        migrations.check(row, where)
        self.shards = row["shards"]
        if migrations.is_older(row, steps):
            migrations.check_workers(self.active(), where)
            self._at(DOCUMENTS, partial(migrations.begin, where=where), write=True)
        for name, step in migrations.pending(row, steps):
            step(self)
            crashpoint("store.migration.applied")
            self._at(DOCUMENTS, partial(migrations.record, name=name), write=True)

    def _at(self, number: int, work: Callable[[Shard], T], *, write: bool = False) -> T:
        if write:
            work = self._in_format(number, work)
        while True:
            thread = self._thread_of(number)
            try:
                return thread.do(work, write)
            except _Closed:
                continue  # another thread closed the store between the two lines; a new one opens it again

    def _in_format(self, number: int, work: Callable[[Shard], T]) -> Callable[[Shard], T]:
        """`work`, which writes, unless a newer version took the store over: an older one writes nothing any more.

        With the documents, the orchestrator's lease among them, the format is read in the same transaction; runs are in
        other databases, and it is read just before. A worker need not look: nothing is migrated while it lives.
        """
        where = str(self.path)
        if number == DOCUMENTS:

            def checked(shard: Shard) -> T:
                migrations.check(shard.read(migrations.ROW), where)
                return work(shard)

            return checked
        if not self._checked and (seen := self._documents_stamp()) != self._format_seen:
            migrations.check(self._at(DOCUMENTS, lambda shard: shard.read(migrations.ROW)), where)
            # Of a file that was written just now the clock of files may not tell the next write apart.
            settled = all(time.time_ns() - changed > _FILE_CLOCK for changed, _, _ in seen)
            self._format_seen = seen if seen and settled else None
        return work

    def _documents_stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes whenever somebody writes to the documents, the format among them; costs no change of threads."""
        stamps = []
        for name in ("cache.db", "cache.db-wal"):
            with suppress(OSError):
                info = os.stat(self.path / "documents" / name)
                stamps.append((info.st_mtime_ns, info.st_size, info.st_ino))
        return tuple(stamps)

    def thread(self, run: str) -> Executor | None:
        """See `LogStore`: the thread of the run's shard."""
        return self._thread_of(self._shard(run)).thread

    def lane(self, run: str) -> CommitLane[Any]:
        """See `commit_lane.lane_of`: that of the run's shard."""
        number = self._shard(run)
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = CommitLane(
                lambda: self._thread_of(number).thread,
                lambda work: self._at(number, lambda shard: work(), write=True),
            )
        return lane

    def _thread_of(self, number: int) -> _ShardThread:
        with self._lock:
            if self._pid != os.getpid():
                _inherited.append((self._threads, self._lanes))
                self._threads, self._lanes, self._pid = {}, {}, os.getpid()
            thread = self._threads.get(number)
            if thread is None:
                name = "documents" if number == DOCUMENTS else f"runs-{number}"
                thread = self._threads[number] = _ShardThread(self.path / name, self._patience)
            return thread

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            threads, self._threads = self._threads, {}
            if self._pid != os.getpid():
                _inherited.append(threads)
                threads = {}
        for thread in threads.values():
            thread.close()

    def _newest_first(self, wanted: WantedRuns, before: str | None, limit: int) -> Iterator[Head]:
        if not wanted.filters or (wanted.states and not wanted.states & ENDED):
            return super()._newest_first(wanted, before, limit)

        def older(shard: Shard, than: str | None, limit: int) -> HeadChunk:
            if not isinstance(shard, _OpenShard) or (runs := shard.older(wanted, than, limit)) is None:
                return run_log.older_heads(shard, than, limit, children=wanted.children)
            return run_log.listed_heads(shard, runs), runs[-1] if len(runs) == limit else None

        return self._merged(before, limit, older)

    def verify(self) -> list[str]:
        """Walk over every row of every shard; what is wrong, one line each. Slow: for `po doctor`."""
        wrong: list[str] = []
        for number in (DOCUMENTS, *range(self.shards)):
            wrong.extend(self._thread_of(number).verify())
        return wrong


class _Closed(Exception):
    pass


class _ShardThread:
    """One shard and the thread that does its work."""

    def __init__(self, directory: Path, patience: float) -> None:
        self._directory = directory
        self._patience = patience
        self.thread = ThreadPoolExecutor(
            1, thread_name_prefix=f"po-store-{directory.name}", initializer=self._started
        )
        self._ident: int | None = None
        self._start()
        self._cache: ShardCache | None = None

    def _start(self) -> None:
        # Now: the executor keeps work whose thread cannot be started, and would do it after saying that it failed.
        try:
            self.thread.submit(int)
        except RuntimeError as error:
            raise StoreUnusable(
                f"the store {self._directory} cannot be used: {error}",
                hint="Raise the limit of threads (`ulimit -u`, or the container's).",
                details={"path": str(self._directory)},
            ) from None

    def _started(self) -> None:
        self._ident = get_ident()

    def do(self, work: Callable[[Shard], T], write: bool) -> T:
        if self._ident == get_ident():
            return self._do(work, write)
        try:
            future = self.thread.submit(self._do, work, write)
        except RuntimeError:
            raise _Closed from None
        return future.result()

    def _do(self, work: Callable[[Shard], T], write: bool) -> T:
        try:
            if self._cache is None:
                if not write and not exists(self._directory):
                    return work(EmptyShard())  # reading does not make shards
                self._cache = open_shard(self._directory)
                self._cache.has_head_index = head_index.is_there(self._cache)
            return self._write(self._cache, work) if write else work(_OpenShard(self._cache))
        except (sqlite3.DatabaseError, Timeout) as error:
            if self._cache is not None:
                self._cache.close()  # whatever transaction is still open ends here; the next use connects again
            raise diagnosis.unusable(error, self._directory / "cache.db") from error
        except OSError as error:
            raise diagnosis.unusable_os(error, self._directory) from error

    def _write(self, cache: ShardCache, work: Callable[[Shard], T]) -> T:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with cache.transact():
                    result = work(_OpenShard(cache))
                    crashpoint("store.commit.before")
                crashpoint("store.commit.after")
                return result
            except Timeout as error:
                # diskcache says Timeout for whatever a BEGIN can fail of, a read-only disk too.
                if not diagnosis.is_busy(error) or time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        def release() -> None:
            if self._cache is not None:
                self._cache.close()
                self._cache = None

        try:
            self.thread.submit(release).result()
        except RuntimeError:
            return  # closed already
        self.thread.shutdown()

    def verify(self) -> list[str]:
        return self.do(lambda shard: shard.verify() if isinstance(shard, _OpenShard) else [], False)


class _OpenShard:
    __slots__ = ("_cache",)
    keeps_lists = True

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache

    def read(self, key: str) -> Any | None:
        try:
            return self._cache.get(key)
        except Unreadable as error:
            raise self._corrupt(key, error) from None

    def read_rows(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        found: dict[str, Any | CorruptRow] = {}
        for start in range(0, len(keys), _AT_ONCE):
            for key, value in self._cache.read_rows(keys[start : start + _AT_ONCE]):
                found[key] = self._corrupt(key, value) if isinstance(value, Unreadable) else value
        return found

    def text(self, key: str) -> bytes | None:
        try:
            text: bytes | None = self._cache.get(key, read=True)
            return text
        except Unreadable as error:
            raise self._corrupt(key, error) from None

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.text(key) for key in keys]

    def keys(self, prefix: str) -> list[str]:
        sql = "SELECT key FROM Cache WHERE raw = 1 AND key >= ? AND key < ? ORDER BY key"
        return [key for (key,) in self._cache._sql(sql, (prefix, prefix + "\U0010ffff")).fetchall()]

    def write(self, key: str, value: Any) -> None:
        if key.startswith("head/") and self._cache.has_head_index:
            self._cache.put(key, value, count=1)
            head_index.keep(self._cache, value)
        else:
            self._cache.put(key, value)

    def older(self, wanted: WantedRuns, than: str | None, limit: int) -> list[str] | None:
        """Up to `limit` runs below `than` that may be wanted, newest first; None while there can be no index."""
        try:
            return head_index.older(self._cache, wanted, than, limit)
        except head_index.UNUSABLE:
            return None

    def erase(self, key: str) -> bool:
        return bool(self._cache.delete(key))

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        rows = self.read_rows(keys)
        for row in rows.values():
            if isinstance(row, CorruptRow):
                raise row
        return [rows.get(key) for key in keys]

    def erase_records(self, run: str, last: int | None) -> None:
        run_log.erase_each_record(self, run, last)

    def measure(self, run: str) -> int:
        return sum(self._measure(first, end) for first, end in run_log.stored_at(run))

    def _measure(self, first: str, end: str) -> int:
        # The length of a blob stands in its row's header: the pages of large values are not read.
        sql = "SELECT COALESCE(SUM(LENGTH(value)), 0) FROM Cache WHERE raw = 1 AND key >= ? AND key < ?"
        ((size,),) = self._cache._sql(sql, (first, end)).fetchall()
        return int(size)

    def reclaim(self) -> None:
        # With auto_vacuum=FULL the database itself shrinks at every commit: a VACUUM gained 0 to 30 % of what
        # was left after 90 % of the runs were deleted. What stays large is the journal beside it.
        sql = self._cache._sql
        sql("PRAGMA busy_timeout = 100").fetchall()  # if somebody is at work, the next cleaning does it
        try:
            sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            sql(f"PRAGMA busy_timeout = {SETTINGS['sqlite_busy_timeout']}").fetchall()

    def verify(self) -> list[str]:
        wrong: list[str] = []
        keys = self._cache.iterkeys()
        while True:
            try:
                key = next(keys)
            except StopIteration:
                return wrong
            except Unreadable as error:
                wrong.append(f"{self._cache.file}: a row {error}")
                return wrong  # diskcache cannot go on behind a key that is refused
            try:
                self.read(key)
            except CorruptRow as error:
                wrong.append(error.message)

    def _corrupt(self, key: str, error: Unreadable) -> CorruptRow:
        return CorruptRow(
            f"the row {key} in {self._cache.file} {error}",
            hint="Something else wrote into the store. Restore the file from a copy, or delete that run.",
            details={"key": key, "file": str(self._cache.file)},
        )
