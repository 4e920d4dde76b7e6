"""A store in PostgreSQL (14 or newer), shared by every process on every machine that has its URL."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import Any, LiteralString, TypeVar, get_args
from urllib.parse import unquote

import psycopg
import structlog
from psycopg import Connection, Cursor
from psycopg_pool import ConnectionPool, PoolTimeout

from po_jupyter.errors import CorruptRow, InvalidInput, StoreUnusable
from po_jupyter.model.run.view import RunStatus
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.keyed import run_log, snapshots
from po_jupyter.store.keyed.listing import WantedRuns
from po_jupyter.store.keyed.run_index import digest
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.postgres import run_pool, schema
from po_jupyter.store.postgres.listener import ChangeListener, channel_of
from po_jupyter.store.postgres.shard import PostgresShard
from po_jupyter.store.protocol import EVERY_KIND, Head, waits_for_worker

log = structlog.get_logger(__name__)
# Whoever uses a connection says what is wrong with it: the pool would print the same line at each try to make one.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
logging.getLogger("psycopg").propagate = False

T = TypeVar("T")
_LOCKS = 4096  # runs that share one wait for each other's commits
_STATES = frozenset(get_args(RunStatus))
_ACTIVE: LiteralString = (
    "SELECT run, body FROM {table} WHERE state IN ('pending', 'running', 'waiting') ORDER BY run"
)
_RETRY = 0.5  # s between two tries to connect
_DEFAULT_SCHEMA = "po_jupyter"
_LONGEST_NAME = 63  # bytes: PostgreSQL cuts longer ones off, so that two names would be one schema
_NO_NAME = frozenset("%\0")  # a % of a name would be a placeholder
# Classes of SQLSTATE that say that the database cannot be reached or used at all; None: libpq found it out.
_AWAY = ("08", "28", "3D", "57P")
_inherited: list[object] = []  # what a forked child got from its parent and must neither use nor close


class PostgresStore(KeyedStore):
    """A `Store` in the database of `url` (`postgresql://HOST/DATABASE?schema=NAME`, by default the schema po_jupyter).

    Writers of one run, and those of documents, wait for each other in the database; what a transaction wrote is durable
    when it returns (`synchronous_commit`). At most `connections` are open at once, each given back after each use.
    `patience` is how long, in seconds, one is waited for. As with `DiskStore` the object can be used again after
    `close()`, also in a forked child. With `checked` the tables are known to be there.

    Raises InvalidInput for a URL that is none, StoreUnusable.
    """

    def __init__(
        self, url: str, *, connections: int = 8, patience: float = 20.0, checked: bool = False
    ) -> None:
        """See the class. Makes or migrates the tables, unless `checked`."""
        super().__init__(_LOCKS)
        self._conninfo, self._schema, self.where = parts_of(url)
        self._channel = channel_of(self._schema)
        self._listener = ChangeListener(self._conninfo, self._channel, self.where)
        self._connections = connections
        self._patience = patience
        self._lock = Lock()
        self._pid = os.getpid()
        self._open: ConnectionPool[Connection[Any]] | None = None
        self._is_mute = False  # the last notification failed
        if not checked:
            with self._connection() as connection:
                schema.migrate(connection, self._schema, self.where)

    @classmethod
    def look(cls, url: str, *, patience: float = 20.0) -> tuple[str, schema.SchemaState]:
        """Where `url` is, for people, and what there is of the tables for its role and what is missing. Nothing is
        changed. Raises as the class does."""
        store = cls(url, patience=patience, checked=True)
        try:
            with store._connection() as connection:
                return store.where, schema.state_of(connection, store._schema, store.where)
        finally:
            store.close()

    def _at(self, number: int, work: Callable[[Shard], T], *, write: bool = False) -> T:
        for is_first in (True, False):
            with self._connection() as connection:
                shard = PostgresShard(connection, self._schema, self.where)
                try:
                    return self._write(connection, shard, number, work) if write else work(shard)
                except psycopg.OperationalError:
                    if not (is_first and connection.broken) or shard.is_committing:
                        raise
            # The server went away since the connection was used, and nothing was changed: once more, with another one.
            self._pool().check()
        raise AssertionError("the second time it raises")

    def _write(
        self, connection: Connection[Any], shard: PostgresShard, number: int, work: Callable[[Shard], T]
    ) -> T:
        committed: Cursor[Any] | None = None
        try:
            # A pipeline: what needs no answer at once (begin, lock, inserts, commit) travels with what does.
            with connection.pipeline():
                connection.execute("BEGIN")
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", (self._schema, number))
                result = work(shard)
                shard.flush()
                crashpoint("store.commit.before")
                shard.is_committing = True
                committed = connection.execute("COMMIT")
                # Not before it: a transaction with a notification holds a lock of the whole database while its commit
                # goes to the disk, one after the other. Both arrive in one piece, so no crash of ours parts them.
                for run in shard.changed_runs():
                    connection.execute("SELECT pg_notify(%s, %s)", (self._channel, run))
            self._notified(None)
        except BaseException as error:
            with suppress(psycopg.Error):  # the connection is gone, and the transaction with it
                connection.rollback()
            if not (isinstance(error, psycopg.Error) and committed and committed.statusmessage == "COMMIT"):
                raise
            self._notified(error)  # it is durable: what failed is the notification alone
        crashpoint("store.commit.after")
        return result

    def _notified(self, error: psycopg.Error | None) -> None:
        """Say once that others are not notified, and once that they are again: they look by themselves, later."""
        if error is not None and not self._is_mute:
            log.warning("others are not told of changes", store=self.where, error=str(error).strip())
        elif error is None and self._is_mute:
            log.info("others are told of changes again", store=self.where)
        self._is_mute = error is not None

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        try:
            pool = self._pool()
            connection = self._take(pool)
            try:
                yield connection
            finally:
                pool.putconn(connection)
        except PoolTimeout as error:
            raise self._unusable(self._last_error() or error, "Nothing was changed.") from error
        except psycopg.Error as error:
            # The answer to a commit may be what was lost.
            raise self._unusable(error, "Look at the run before you start it again.") from error

    def _take(self, pool: ConnectionPool[Connection[Any]]) -> Connection[Any]:
        deadline = time.monotonic() + self._patience
        while True:
            left = deadline - time.monotonic()
            try:
                return pool.getconn(timeout=min(_RETRY, left))
            except PoolTimeout:  # asking again has it try at once; by itself it waits longer each time
                if left <= _RETRY:
                    raise

    @property
    def place(self) -> str:
        """Where it is, for people: with its schema, and without a password."""
        return f"{self.where}?schema={self._schema}"

    def _unusable(self, error: Exception, hint: str) -> StoreUnusable:
        first = (str(error).strip().splitlines() or ["no reason"])[0]
        state = getattr(error, "sqlstate", None)
        if state is None or state.startswith(_AWAY):
            hint = f"Is the server there, and may this user use that database? {hint}"
        return StoreUnusable(f"the store {self.where} cannot be used: {first}", hint=hint)

    def _last_error(self) -> Exception | None:
        """Why no connection can be made: a pool only says that there was none."""
        try:
            psycopg.connect(self._conninfo, connect_timeout=2).close()
        except psycopg.Error as error:
            return error
        return None

    def _pool(self) -> ConnectionPool[Connection[Any]]:
        with self._lock:
            if self._pid != os.getpid():
                _inherited.append(self._open)
                self._open, self._pid = None, os.getpid()
            if self._open is None:
                self._open = ConnectionPool(
                    self._conninfo, min_size=0, max_size=self._connections, max_idle=60.0, open=True,
                    kwargs={"autocommit": True, "application_name": "po_jupyter", **connection_options(self._conninfo)},
                    name="po-store", num_workers=1, check=None, reconnect_timeout=_RETRY,
                    configure=_configure,
                )  # fmt: skip
            return self._open

    def listen(self, on_change: Callable[[str], None]) -> Callable[[], None]:
        """See `ListeningStore`. `close` ends it too."""
        return self._listener.add(on_change)

    def close(self) -> None:
        """See `Store`."""
        self._listener.close()
        with self._lock:
            pool, self._open = self._open, None
            if self._pid != os.getpid():
                _inherited.append(pool)
                return
        if pool is not None:
            pool.close()

    # -- lists ----------------------------------------------------------------------------------
    def active(self) -> list[Head]:
        """See `RunStore`."""

        def work(shard: Shard) -> list[Head]:
            heads = self._heads(shard, _ACTIVE, ())
            return [head for head in heads if "damage" not in head]

        return self._at(0, work)

    def waiting(self, limit: int, kinds: Collection[bool | None] = EVERY_KIND) -> list[Head]:
        """See `RunPoolStore`."""

        def work(shard: Shard) -> list[Head]:
            assert isinstance(shard, PostgresShard)
            heads: list[Head] = []
            # Those of which an earlier version did not write the kind may be of any.
            for kind in {schema.kind_of(kind) for kind in (*kinds, None)}:
                urgent = self._heads(shard, run_pool.URGENT, (kind, limit))
                heads += urgent
                if len(urgent) == limit:  # those of other owners may be behind them
                    some = (run_pool.owners(shard, kind), kind, run_pool.of_each(limit))
                    heads += self._heads(shard, run_pool.OF_OWNERS, some)
            return heads

        found = {head["run"]: head for head in self._at(0, work)}
        return [head for head in found.values() if "damage" not in head and waits_for_worker(head)]

    def held(self) -> list[Head]:
        """See `RunPoolStore`."""
        heads = self._at(0, lambda shard: self._heads(shard, run_pool.HELD, ()))
        return [head for head in heads if "damage" not in head and head["holder"] is not None]

    def heads(self, runs: Sequence[str]) -> dict[str, Head]:
        """See `RunPoolStore`: in one query."""
        rows = self._at(0, lambda shard: shard.read_rows([f"head/{run}" for run in runs]))
        return {
            key.removeprefix("head/"): head for key, head in rows.items() if not isinstance(head, CorruptRow)
        }

    def count_waiting(self) -> int:
        """See `RunPoolStore`."""

        def work(shard: Shard) -> int:
            assert isinstance(shard, PostgresShard)
            return int(shard.rows(run_pool.COUNT, ())[0][0])

        return self._at(0, work)

    def _listed(self, wanted: WantedRuns, before: str | None, limit: int) -> Iterator[Head]:
        columns: list[LiteralString] = []
        values: list[object] = []
        if wanted.owner is not None:
            columns.append("owner")
            values.append(digest(wanted.owner))
        if wanted.pipeline is not None:
            columns.append("pipeline")
            values.append(digest(wanted.pipeline))
        filters = [tuple(values)]
        # Each state apart is the end of one index, however many runs the others have.
        if wanted.filters:
            columns.append("state")
            filters = [(*values, state) for state in sorted(wanted.states or _STATES)]
        conditions: list[LiteralString] = [column + " = %s" for column in columns]
        order: LiteralString = "run DESC"
        if columns:
            # Where the first column is one of several values (the same one twice) and sorted by, only an index that
            # begins with it will do. With `=` the planner may go through everybody's runs until it has found 50.
            conditions[0] = columns[0] + " = ANY(%s)"
            order = columns[0] + " DESC, run DESC"
            filters = [([first, first], *rest) for first, *rest in filters]
        if not wanted.children:
            conditions.append("NOT is_child")
        if before is not None:
            conditions.append("run < %s")
            filters = [(*some, before) for some in filters]
        where: LiteralString = " WHERE " + " AND ".join(conditions) if conditions else ""
        part: LiteralString = f"(SELECT run, body FROM {{table}}{where} ORDER BY {order} LIMIT %s)"  # noqa: S608 - literals
        parts: LiteralString = " UNION ALL ".join([part] * len(filters))
        query: LiteralString = f"SELECT run, body FROM ({parts}) AS found ORDER BY run DESC LIMIT %s"  # noqa: S608 - literals
        of_parts = [value for some in filters for value in (*some, limit + 1)]
        yield from self._at(0, lambda shard: self._heads(shard, query, (*of_parts, limit + 1)))

    def _heads(self, shard: Shard, query: LiteralString, values: tuple[object, ...]) -> list[Head]:
        assert isinstance(shard, PostgresShard)
        heads: list[Head] = []
        for run, body in shard.heads(query, values):
            try:
                heads.append(shard._value(f"head/{run}", body))
            except CorruptRow as error:
                heads.append(run_log.damaged_head(shard, run, error.message))
        return heads

    def snapshots(self, runs: Sequence[str]) -> dict[str, Any]:
        """See `SnapshotStore`: of all runs in one query."""
        return self._at(0, partial(snapshots.read, runs=runs))

    def reclaim(self) -> None:
        """See `Store`: autovacuum does it."""


def _configure(connection: Connection[Any]) -> None:
    """Whatever the server, database or role is set to: commits are durable (what is stronger than the server's own disk
    stays), and who waited for a lock then reads what the one before wrote."""
    connection.execute(
        """SELECT set_config('default_transaction_isolation', 'read committed', false),
            set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'),
                false)"""
    )


def connection_options(conninfo: str) -> dict[str, int | str]:
    """Options of libpq: those with which the end of a line is noticed within the usual term of a node and 2 s, as far
    as the URL does not say otherwise (by itself TCP waits for a quarter of an hour for a machine that is gone), and
    text as UTF-8, whatever the database and the environment say."""
    chosen = psycopg.conninfo.conninfo_to_dict(conninfo)
    usual = {
        "connect_timeout": 5, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3,
        "tcp_user_timeout": 6000,
    }  # fmt: skip
    return {**{k: v for k, v in usual.items() if k not in chosen}, "client_encoding": "utf8"}


def parts_of(url: str) -> tuple[str, str, str]:
    """The URL for libpq, the schema, and a URL without a secret, for people. Raises InvalidInput, which quotes nothing:
    a password with a character that is not percent-encoded may be anywhere in it."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInput(
            "this is no kind of store",
            hint="A shared store is postgresql://USER@HOST/DATABASE, a local one needs no URL.",
        )
    found = re.search(r"[?&]schema=([^&]*)", url)
    name = unquote(found[1]) if found else _DEFAULT_SCHEMA
    conninfo = url.replace(found[0], "?" if found[0][0] == "?" else "", 1).replace("?&", "?") if found else url
    try:
        parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        parts = {}
    host, ports = str(parts.get("host") or ""), str(parts.get("port") or "")
    # An @ there is the end of a password with a / or a ? in it, of which the rest would be shown as the database.
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    is_cut = "@" in host + path + (found[1] if found else "")
    if not parts or is_cut or (ports and not ports.replace(",", "").isdecimal()):
        raise InvalidInput(
            "the URL of the store cannot be read",
            hint="It is postgresql://USER:PASSWORD@HOST/DATABASE?OPTION=VALUE of libpq; other characters of a password "
            "are percent-encoded.",
        )
    if not 0 < len(name.encode()) <= _LONGEST_NAME or name.startswith("pg_") or not _NO_NAME.isdisjoint(name):
        raise InvalidInput(
            f"{name!r:.80} cannot be the schema of a store",
            hint=f"It has 1 to {_LONGEST_NAME} bytes, no % and no NUL, and does not begin with pg_.",
        )
    shown = ",".join(f"[{one}]" if ":" in one else one for one in host.split(","))
    return conninfo, name, f"postgresql://{shown}{':' if ports else ''}{ports}/{parts.get('dbname') or ''}"
