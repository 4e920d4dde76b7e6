"""The index of runs in a shard, for filtered lists: tables of SQLite beside diskcache's, which any version may ignore.

    PoHeads(run, owner, pipeline, state)   owner and pipeline as digests; an index for each way to filter;
                                           the state of a child run with `_OF_CHILDREN` before it
    PoUnknown(run)                         whose row is missing or may be old: they are read before a list is made

A program that knows nothing of it writes heads all the same. Triggers note that: each head that is inserted is unknown,
and each that is updated without counting in `access_count`, which this program does. So a store gains its index when it
is first listed by a filter, and what an older program did meanwhile is read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import get_args

from diskcache import Timeout

from po_jupyter.model.run.view import RunStatus
from po_jupyter.store.disk.json_disk import ShardCache
from po_jupyter.store.json_codec import Unreadable
from po_jupyter.store.keyed.listing import WantedRuns
from po_jupyter.store.keyed.run_index import digest
from po_jupyter.store.protocol import Head

_STATES = frozenset(get_args(RunStatus))
_OF_CHILDREN = "part/"
_AT_ONCE = 500  # heads that are read in one query
_IS_HEAD = "{row}.raw = 1 AND {row}.key > 'head/' AND {row}.key < 'head0'"
_NOTE = (  # not OR IGNORE: in a trigger the statement that fires it says what happens to a conflict
    "INSERT INTO PoUnknown SELECT substr({row}.key, 6) WHERE substr({row}.key, 6) NOT IN (SELECT run FROM PoUnknown); "
    "DELETE FROM PoHeads WHERE run = substr({row}.key, 6);"
)
_TABLES = (
    "CREATE TABLE IF NOT EXISTS PoHeads (run TEXT PRIMARY KEY, owner BLOB, pipeline BLOB, state TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS PoUnknown (run TEXT PRIMARY KEY) WITHOUT ROWID",
    *(
        f"CREATE INDEX IF NOT EXISTS PoHeads_{columns.replace(', ', '_')} ON PoHeads ({columns})"
        for columns in (
            "owner, pipeline, state, run",
            "owner, state, run",
            "pipeline, state, run",
            "state, run",
        )
    ),
    f"CREATE TRIGGER IF NOT EXISTS PoInserted AFTER INSERT ON Cache WHEN {_IS_HEAD.format(row='NEW')} "
    f"BEGIN {_NOTE.format(row='NEW')} END",
    f"CREATE TRIGGER IF NOT EXISTS PoUpdated AFTER UPDATE ON Cache WHEN {_IS_HEAD.format(row='NEW')} "
    f"AND NEW.access_count IS OLD.access_count BEGIN {_NOTE.format(row='NEW')} END",
    f"CREATE TRIGGER IF NOT EXISTS PoDeleted AFTER DELETE ON Cache WHEN {_IS_HEAD.format(row='OLD')} "
    f"BEGIN {_NOTE.format(row='OLD')} END",
    # At last, and once: after the triggers nothing is missed. The keys stand in an index of their own.
    "INSERT OR IGNORE INTO PoUnknown SELECT substr(key, 6) FROM Cache WHERE key > 'head/' AND key < 'head0'",
)
_KEEP = (
    "INSERT INTO PoHeads VALUES (?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET state = excluded.state,"
    " owner = excluded.owner, pipeline = excluded.pipeline WHERE state IS NOT excluded.state"
)


def is_there(cache: ShardCache) -> bool:
    """Whether the shard has the index."""
    return bool(cache._sql("SELECT 1 FROM sqlite_master WHERE name = 'PoDeleted'").fetchall())


def keep(cache: ShardCache, head: Head) -> None:
    """Index a head that was written in this transaction. The shard has the index."""
    run = head["run"]
    if head["state"] in _STATES:
        state = _OF_CHILDREN + head["state"] if "parent" in head else head["state"]
        cache._sql(_KEEP, (run, digest(head["owner"]), digest(head["pipeline"]), state))
        cache._sql("DELETE FROM PoUnknown WHERE run = ?", (run,))


def older(cache: ShardCache, wanted: WantedRuns, than: str | None, limit: int) -> list[str]:
    """Up to `limit` runs below `than` that may be wanted, newest first; that of all heads which cannot be read is among
    them. Outside of a transaction: what is unknown is read first."""
    unknown = _learn(cache)
    columns: list[str] = []
    values: list[object] = []
    for column, value in (("owner", wanted.owner), ("pipeline", wanted.pipeline)):
        if value is not None:
            columns.append(f"{column} = ?")
            values.append(digest(value))
    conditions = " AND ".join([*columns, "state = ?", "run < ?"])
    sql = f"SELECT run FROM PoHeads WHERE {conditions} ORDER BY run DESC LIMIT ?"  # noqa: S608 - names of columns
    below = than if than is not None else "~"  # above every id
    found = [run for run in unknown if run < below]
    states = wanted.states or _STATES
    for state in (*states, *(_OF_CHILDREN + state for state in states if wanted.children)):
        found += [run for (run,) in cache._sql(sql, (*values, state, below, limit)).fetchall()]
    return nlargest(limit, found)


def _learn(cache: ShardCache) -> list[str]:
    """Index what is unknown; the runs that cannot be, because they cannot be read."""
    if not is_there(cache):
        with cache.transact():
            for statement in _TABLES:
                cache._sql(statement)
    cache.has_head_index = True
    runs = [run for (run,) in cache._sql("SELECT run FROM PoUnknown").fetchall()]
    for start in range(0, len(runs), _AT_ONCE):
        with cache.transact():
            _index(cache, runs[start : start + _AT_ONCE])
    return [run for (run,) in cache._sql("SELECT run FROM PoUnknown").fetchall()] if runs else []


def _index(cache: ShardCache, runs: Sequence[str]) -> None:
    there: set[str] = set()
    for key, head in cache.read_rows([f"head/{run}" for run in runs]):
        there.add(key.removeprefix("head/"))
        if not isinstance(head, Unreadable):
            keep(cache, head)
    _forget(cache, (run for run in runs if run not in there))


def _forget(cache: ShardCache, runs: Iterable[str]) -> None:
    for run in runs:
        cache._sql("DELETE FROM PoUnknown WHERE run = ?", (run,))


UNUSABLE: tuple[type[Exception], ...] = (sqlite3.OperationalError, Timeout)
"""What a shard raises that cannot be written now: its lists are made without the index."""
