"""The database of the ledger: SQLite in a file or PostgreSQL by its URL, with the same statements."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import file_lock
from po_jupyter.platform.private_file import open_private

if TYPE_CHECKING:
    import psycopg

Value: TypeAlias = str | int | float | None
Row: TypeAlias = tuple[Value, ...]

_LOCK = 0x706F68  # of PostgreSQL's advisory locks: `poh`
SCHEMA = (
    # Calls that went out and are not settled: after a crash each counts in full.
    """CREATE TABLE IF NOT EXISTS reservations (
        id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, day TEXT NOT NULL, username TEXT NOT NULL,
        groups TEXT NOT NULL, model TEXT NOT NULL, input BIGINT NOT NULL, output BIGINT NOT NULL,
        nano BIGINT, batch TEXT NOT NULL)""",
    # What was used, by day, user, their groups then, and model. Money is in nano-dollars.
    """CREATE TABLE IF NOT EXISTS totals (
        day TEXT NOT NULL, username TEXT NOT NULL, groups TEXT NOT NULL, model TEXT NOT NULL,
        calls BIGINT NOT NULL, input BIGINT NOT NULL, output BIGINT NOT NULL, cached BIGINT NOT NULL,
        reasoning BIGINT NOT NULL, nano BIGINT NOT NULL, lost BIGINT NOT NULL, unpriced BIGINT NOT NULL,
        PRIMARY KEY (day, username, groups, model))""",
    # Files and batches at vendors, and whose they are. `state` is JSON.
    """CREATE TABLE IF NOT EXISTS objects (
        provider TEXT NOT NULL, id TEXT NOT NULL, username TEXT NOT NULL, kind TEXT NOT NULL,
        at DOUBLE PRECISION NOT NULL, state TEXT NOT NULL, PRIMARY KEY (provider, id))""",
    # Changes of the limits: who, when, and the limits before and after as JSON.
    """CREATE TABLE IF NOT EXISTS changes (
        at DOUBLE PRECISION NOT NULL, username TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL)""",
    # Users whose servers have live runs: how many, said when, servers started since, and not before when again.
    """CREATE TABLE IF NOT EXISTS work (
        username TEXT PRIMARY KEY, runs BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL, starts BIGINT NOT NULL,
        next DOUBLE PRECISION NOT NULL)""",
    # How often a gateway took the ledger: one that finds another number than its own was away meanwhile.
    """CREATE TABLE IF NOT EXISTS takings (id INTEGER PRIMARY KEY, n BIGINT NOT NULL)""",
)


class LedgerTaken(StoreUnusable):
    """Another gateway has, or had, the ledger since this one lost its connection: what this one knows of balances is
    old."""


class LedgerDatabase(Protocol):
    """A connection of the thread that made it. Statements have `?` for values."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run a statement; its rows."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run a statement for each row."""
        ...

    def begin(self) -> None:
        """Begin a transaction."""
        ...

    def commit(self) -> None:
        """Make the transaction durable."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def open_database(place: str) -> LedgerDatabase:
    """The database at a path or a URL, made when it is not there. Raises StoreUnusable.

    One gateway has it at a time: its balances are in that gateway's memory.
    """
    if place.startswith(("postgresql://", "postgres://")):
        return _Postgres(place)
    return _Sqlite(Path(place))


class _Sqlite:
    """A file of SQLite. FULL: a commit survives the machine."""

    def __init__(self, path: Path) -> None:
        try:
            self._lock = open_private(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT)
            if not file_lock.try_lock(self._lock):
                os.close(self._lock)
                raise StoreUnusable(f"another gateway has the ledger {path}", hint="One gateway has a ledger.")
            os.close(open_private(path, os.O_RDWR | os.O_CREAT))
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            for statement in SCHEMA:
                self._connection.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"the ledger {path} cannot be opened: {error}") from None

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)


class _Postgres:
    """A PostgreSQL database, in a schema of its own: `po_hub`, or that of the URL with `_hub` behind it. The connection
    is made anew after a failure."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._schema = f"{query.pop('schema', 'po')}_hub"  # of a store's URL; libpq does not know it
        self._url = urlunsplit(parts._replace(query=urlencode(query)))
        self._connection: psycopg.Connection[Row] | None = None
        self._taking: int | None = None  # the number of ours, once the ledger is open
        self._connected()

    def _connected(self) -> psycopg.Connection[Row]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            import psycopg
            import psycopg.sql
        except ImportError as error:
            raise StoreUnusable(
                f"a ledger in PostgreSQL needs {error.name}", hint="pip install 'po_jupyter[postgres]'"
            ) from None
        try:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            locking = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
            locked = connection.execute(locking, (_LOCK, self._schema)).fetchone()
            if locked is None or not locked[0]:
                connection.close()
                kind = StoreUnusable if self._taking is None else LedgerTaken
                raise kind("another gateway has this ledger", hint="One gateway has a ledger.")
            schema = psycopg.sql.Identifier(self._schema)
            connection.execute(psycopg.sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            connection.execute(psycopg.sql.SQL("SET search_path TO {}").format(schema))
            for statement in SCHEMA:
                connection.execute(statement.encode())
            self._take(connection)
        except psycopg.Error as error:
            # Its text may hold the URL, and the URL a password.
            raise StoreUnusable(f"the ledger in PostgreSQL cannot be opened ({type(error).__name__})") from None
        self._connection = connection
        return connection

    def _take(self, connection: psycopg.Connection[Row]) -> None:
        """Note that this gateway has the ledger; after a lost connection see that none had it meanwhile."""
        if self._taking is None:
            taken = connection.execute(
                "INSERT INTO takings VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = takings.n + 1 RETURNING n"
            ).fetchone()
            self._taking = int(str(taken[0])) if taken is not None else 0
            return
        now = connection.execute("SELECT n FROM takings WHERE id = 1").fetchone()
        if now is None or int(str(now[0])) != self._taking:
            connection.close()
            raise LedgerTaken("another gateway had this ledger meanwhile", hint="Start this gateway again.")

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        cursor = self._connected().execute(sql.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description is not None else []

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        with self._connected().cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s").encode(), rows)

    def begin(self) -> None:
        self._connected().execute("BEGIN")

    def commit(self) -> None:
        self._connected().execute("COMMIT")

    def rollback(self) -> None:
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.close()  # which undoes the transaction, whatever state it is in

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
