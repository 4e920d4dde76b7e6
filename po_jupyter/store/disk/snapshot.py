"""Copies of a store whose processes go on writing: each database as it was at one moment, by SQLite's own backup.

The documents are copied first, then the shards of runs: so every run that a document names is in the copy, unless it
was deleted meanwhile. A run is wholly in one shard, so it is copied as it was at one moment.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypedDict, cast

from diskcache.core import MODE_RAW

from po_jupyter.errors import NotFound, StoreUnusable
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform import private_file
from po_jupyter.store import diagnosis
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.json_disk import BUSY
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.json_codec import decode, unpack
from po_jupyter.store.keyed import documents, run_index
from po_jupyter.store.keyed.copying import heads_of
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.protocol import Head

_COLUMNS = "key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value"
# "0" follows "/": from KIND/RUN/ to there are all the keys that begin with it.
_OF_RUN = (
    "key IN ('head/' || :run, 'def/' || :run) OR key >= 'c/' || :run || '/' AND key < 'c/' || :run || '0' \
OR key >= 'p/' || :run || '/' AND key < 'p/' || :run || '0'"
)
_DELETE = "DELETE FROM main.Cache WHERE %s"
_INSERT = f"INSERT INTO main.Cache ({_COLUMNS}) SELECT {_COLUMNS} FROM live.Cache WHERE %s"  # noqa: S608 - a constant
_RECORDS = (
    "SELECT substr(key, 3, length(key) - 11), COUNT(*) FROM Cache WHERE key >= 'c/' AND key < 'c0' GROUP BY 1"
)


class StoreCounts(TypedDict):
    """The number of runs, of their records, and of documents in a store."""

    runs: int
    records: int
    documents: int


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database, whatever others write to it meanwhile; the copy is for its user alone."""
    os.close(private_file.open_new(target))
    with (
        closing(sqlite3.connect(source, timeout=BUSY)) as live,
        closing(sqlite3.connect(target, timeout=BUSY)) as copy,
    ):
        live.backup(copy)


class StoreSnapshot:
    """The copy of the store in `source` at `target`, a directory that is not there yet. Blocks.

    `store` is the copy, which is not migrated. Raises StoreUnusable, for a store of a newer version too, whose layout
    nobody here knows; NotFound where there is no store.
    """

    def __init__(self, source: Path, target: Path) -> None:
        """Makes the copy."""
        self._source = source
        self._target = target
        self.format = read_format(source)
        migrations.check(self.format, str(source))
        target.mkdir(mode=private_file.PRIVATE_DIRECTORY)
        try:
            for name in _shards(self.format):
                if (file := source / name / "cache.db").exists():
                    (target / name).mkdir(mode=private_file.PRIVATE_DIRECTORY)
                    copy_database(file, target / name / "cache.db")
            # An idempotency key without its run is harmless, a run without its key would be made twice.
            self._copy_rows("documents", "key >= 'i/' AND key < 'i0'")
        except sqlite3.Error as error:
            raise diagnosis.unusable(error, source) from error
        self.store = DiskStore(target, shards=self.format["shards"], checked=True)

    def _shard(self, run: str) -> str:
        return f"runs-{zlib.crc32(run.encode()) % self.format['shards']}"

    def _copy_rows(self, shard: str, where: str, **values: str) -> None:
        """Replace rows of a shard of the copy by those that it has now."""
        with closing(sqlite3.connect(self._target / shard / "cache.db", timeout=BUSY)) as copy:
            copy.execute("ATTACH ? AS live", (str(self._source / shard / "cache.db"),))
            with copy:
                copy.execute(_DELETE % where, values)
                copy.execute(_INSERT % where, values)

    def copy_again(self, run: str) -> int:
        """Bring one run of the copy up to date; the number of its last record, 0 when it was deleted meanwhile."""
        self.store.close()
        try:
            self._copy_rows(self._shard(run), _OF_RUN, run=run)
        except sqlite3.Error as error:
            raise diagnosis.unusable(error, self._source) from error

        def list_again(shard: Shard) -> int:
            head = cast("Head | None", shard.read(f"head/{run}"))
            run_index.set_active(shard, run, head is not None and head["state"] not in ENDED)
            if head is None:
                run_index.remove(shard, run)
            return head["n"] if head is not None else 0

        return self.store._run(run, list_again, write=True)

    def live_record(self, run: str) -> int:
        """The number of the last record that the run has by now; 0 when it was deleted."""
        head = _read_row(self._source / self._shard(run) / "cache.db", f"head/{run}")
        return 0 if head is None else int(head["n"])

    def release(self) -> None:
        """Clear the holders in the copy: the processes that hold the original know nothing of it."""
        self.store.drop(*ORCHESTRATOR_LEASE)
        for head in self.store.active():
            free = {**head, "holder": None}
            self.store._run(head["run"], partial(_write, key=f"head/{head['run']}", value=free), write=True)


def _write(shard: Shard, key: str, value: object) -> None:
    shard.write(key, value)


def _shards(row: migrations.StoreFormat) -> list[str]:
    return ["documents", *(f"runs-{number}" for number in range(row["shards"]))]


def _read_row(file: Path, key: str) -> JsonObject | None:
    """A row of a database of the store, which is not opened as a shard: that would write to it."""
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(file, timeout=BUSY)) as database:
            row = database.execute(
                "SELECT value FROM Cache WHERE key = ? AND mode = ?", (key, MODE_RAW)
            ).fetchone()
    except sqlite3.Error as error:
        raise diagnosis.unusable(error, file) from error
    return None if row is None else cast("JsonObject", decode(unpack(row[0])))


def read_format(path: Path) -> migrations.StoreFormat:
    """The format of the store in `path`, which stays as it is. Raises NotFound, StoreUnusable."""
    row = _read_row(path / "documents" / "cache.db", migrations.ROW)
    if row is None:
        raise NotFound(f"there is no store in {path}", hint="`po config` says where the data directory is.")
    return cast("migrations.StoreFormat", row)


def read_lease(path: Path) -> JsonObject | None:
    """The orchestrator's lease of the store in `path`, None when nobody has it. Raises StoreUnusable."""
    return _read_row(path / "documents" / "cache.db", documents.key(*ORCHESTRATOR_LEASE))


def check_whole(path: Path) -> StoreCounts:
    """The counts of a store that nobody uses. Raises StoreUnusable for damage, and a run without all its records."""
    row = read_format(path)
    migrations.check(row, str(path))
    counts: StoreCounts = {"runs": 0, "records": 0, "documents": 0}
    records: dict[str, int] = {}
    try:
        for name in _shards(row):
            if not (file := path / name / "cache.db").exists():
                continue
            with closing(sqlite3.connect(file)) as database:
                ((verdict,), *_) = database.execute("PRAGMA quick_check(1)").fetchall()
                if verdict != "ok":
                    raise _not_whole(file, f"SQLite says: {verdict}")
                records.update(database.execute(_RECORDS).fetchall())
                ((count,),) = database.execute("SELECT COUNT(*) FROM Cache WHERE key >= 'd/' AND key < 'd0'")
                counts["documents"] += count
    except sqlite3.Error as error:
        raise diagnosis.unusable(error, path) from error
    store = DiskStore(path, shards=row["shards"], checked=True)
    try:
        for head in heads_of(store):
            counts["runs"] += 1
            if records.pop(head["run"], 0) != head["n"]:
                raise _not_whole(path, f"records of run {head['run']} are missing")
            counts["records"] += head["n"]
    finally:
        store.close()
    if records:
        raise _not_whole(path, f"the run {min(records)} is not in the list")
    return counts


def _not_whole(path: Path, reason: str) -> StoreUnusable:
    return StoreUnusable(f"the copy of the store is not whole: {reason}", details={"path": str(path)})
