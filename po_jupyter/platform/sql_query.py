"""Queries of SQL databases through SQLAlchemy (extra `sql`): rows as the driver has them, and nothing is written.

A query is one SELECT, in a transaction that is rolled back, and read-only where a database knows that (PostgreSQL,
SQLite). No message has the password of a URL.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.errors import InvalidInput, PoError, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult, Executable, Select

MOST_ROWS = 1_000_000
MOST_BYTES = 256 * 1024 * 1024  # of text and bytes in all rows together: what fits into a request
ENV = "env:"  # begins the name of an environment variable that has the URL
_CONNECT = 10  # s that PostgreSQL and MySQL have to answer
_AT_ONCE = 1000  # rows that are taken from a driver before they are counted
_LONGEST = 500  # characters of what a database says
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_SELECT = re.compile(r"[\s(]*(select|with)\b", re.IGNORECASE)
_CONNECT_OPTIONS = {"connect_timeout": ("psycopg", "psycopg2", "pymysql", "mysqldb")}
_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)


class NewRows(NamedTuple):
    """Of a query only the rows whose `column` is greater than `after`, in the order of that column; with None all that
    have a value there."""

    column: str
    after: str | int | float | None


def check_query(query: str) -> None:
    """Raises InvalidInput unless a query is one SELECT."""
    # Where a backslash or a dollar may quote as well, nothing counts as quoted.
    bare = _QUOTED.sub(" ", query) if not re.search(r"[\\$]", query) else query
    if ";" in bare.rstrip().removesuffix(";"):
        raise InvalidInput(
            "a query is one statement, and this one has a `;` within",
            hint="In text that has a backslash or a dollar too, write chr(59) for a `;`.",
        )
    if not _SELECT.match(_QUOTED.sub(" ", query)):
        raise InvalidInput("a query is a SELECT, or WITH … SELECT", hint='--sql "SELECT id, text FROM tickets"')


def database_url(database: str) -> str:
    """The URL that `env:NAME`, or a URL itself, means. InvalidInput."""
    if not database.startswith(ENV):
        return database
    name = database.removeprefix(ENV)
    url = os.environ.get(name)
    if not url:
        raise InvalidInput(
            f"the environment variable {name!r:.100} is not set", hint="It has the URL of the database."
        )
    return url


def read_query(
    query: str, url: str, *, timeout: float, most: int = MOST_ROWS, most_bytes: int = MOST_BYTES,
    new: NewRows | None = None,
) -> list[dict[str, object]]:  # fmt: skip
    """The rows of a query, by the names of its columns; with `new` as many as are more than `most` or `most_bytes`.

    Waits at most `timeout` seconds, then the query is cancelled. Raises InvalidInput for what is no query, is refused
    by the database, has more than `most` rows or `most_bytes` of text, or takes too long; Unavailable when the
    database cannot be reached.
    """
    check_query(query)
    reading = _Reading(query, _parsed(url), most, most_bytes, new)
    threading.Thread(target=reading.run, name="sql-query", daemon=True).start()
    try:
        ended = reading.ended.wait(timeout)
    except BaseException:  # Ctrl-C
        reading.cancel()
        raise
    if not ended:
        reading.cancel()
        if not reading.connected:
            raise Unavailable(f"{reading.name} did not answer within {timeout:.0f} s")
        raise InvalidInput(f"the query took longer than {timeout:.0f} s", hint="Add LIMIT or WHERE.")
    if reading.error is not None:
        raise reading.error
    return reading.rows


class _Reading:
    """One query, in a thread of its own: drivers have no common timeout."""

    def __init__(self, query: str, url: URL, most: int, most_bytes: int, new: NewRows | None) -> None:
        self.name = url.render_as_string(hide_password=True).partition("?")[0]
        self.rows: list[dict[str, object]] = []
        self.error: PoError | None = None
        self.connected = False
        self.ended = threading.Event()
        self._query = query
        self._url = url
        self._most = most
        self._most_bytes = most_bytes
        self._new = new
        self._driver: object = None

    def run(self) -> None:
        """Read the rows, or find out why not."""
        try:
            self.rows = self._read()
        except PoError as error:
            self.error = error
        except Exception as error:
            self.error = self._failure(error)
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """End the query, where the driver can; else its thread ends with it."""
        for name in ("cancel", "interrupt"):
            if (method := getattr(self._driver, name, None)) is not None:
                with suppress(Exception):
                    method()

    def _read(self) -> list[dict[str, object]]:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        url = self._url
        if url.get_backend_name() == "sqlite":
            _check_file(url, self.name)
        driver = url.get_driver_name()
        options = {name: _CONNECT for name, drivers in _CONNECT_OPTIONS.items() if driver in drivers}
        try:
            engine = create_engine(url, poolclass=NullPool, connect_args=options)
        except ImportError as error:
            raise InvalidInput(
                f"the driver of {self.name} is not installed: {error.name}",
                hint=f"pip install {error.name}, or name another driver, as in postgresql+psycopg://…",
            ) from None
        with engine.connect() as connection:
            self._driver = connection.connection.driver_connection
            self.connected = True
            connection.execution_options(stream_results=True, postgresql_readonly=True)
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            rows = self._fetch(connection)
            connection.rollback()
        return rows

    def _fetch(self, connection: Connection) -> list[dict[str, object]]:
        with connection.execute(self._statement()) as result:
            cursor = result.cursor
            assert cursor is not None, "a SELECT has rows"
            names = [column[0] for column in cursor.description or ()]
            for name in names:
                if names.count(name) > 1:
                    raise InvalidInput(
                        f"two columns of the query are called {name!r:.60}", hint="Name one with AS."
                    )
            if self._new is not None and self._new.column not in names:
                raise InvalidInput(
                    f"the query has no column {self._new.column!r:.60}, but {', '.join(names)[:_LONGEST]}"
                )
            return self._taken(result, names)

    def _taken(self, result: CursorResult[Any], names: list[str]) -> list[dict[str, object]]:
        """The rows in parts: who asks for a large table is told before all of it is in memory."""
        rows: list[dict[str, object]] = []
        size = 0
        while part := result.fetchmany(min(_AT_ONCE, self._most + 1 - len(rows))):
            rows += (dict(zip(names, row, strict=True)) for row in part)
            size += sum(len(value) for row in part for value in row if isinstance(value, str | bytes))
            if len(rows) <= self._most and size <= self._most_bytes:
                continue
            if self._new is not None:
                break
            limit = f"{self._most:,} rows" if len(rows) > self._most else f"{self._most_bytes:,} bytes"
            raise InvalidInput(f"the query has more than {limit}", hint="Add LIMIT or WHERE.")
        return rows

    def _statement(self) -> Executable:
        from sqlalchemy import bindparam, column, literal_column, select, text
        from sqlalchemy.types import NullType

        # A colon begins no parameter here; a comment at the end ends with its line.
        query = self._query.rstrip().removesuffix(";").replace(":", "\\:") + "\n"
        new = self._new
        if new is None:
            return text(query)
        rows = text(query).columns(column(new.column)).subquery("po_rows")
        value = rows.c[new.column]
        statement: Select[tuple[object]] = (
            select(literal_column("*")).select_from(rows).where(value.is_not(None))
        )
        if new.after is not None:
            # Without a type: the database takes it for one of the column's.
            statement = statement.where(value > bindparam("po_after", new.after, type_=NullType()))
        return statement.order_by(value).limit(self._most + 1)

    def _failure(self, error: Exception) -> PoError:
        from sqlalchemy.exc import DBAPIError

        reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        message = _without_secrets(" ".join(str(reason).split()), self._url)[:_LONGEST] or type(reason).__name__
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if lost or (isinstance(error, DBAPIError) and not self.connected):
            return Unavailable(f"{self.name} cannot be reached: {message}")
        return InvalidInput(f"the query failed in {self.name}: {message}")


def _parsed(url: str) -> URL:
    """The URL, with the driver that the extra `postgres` brings where it names none. InvalidInput."""
    try:
        from sqlalchemy import make_url
    except ImportError:
        raise InvalidInput("SQL needs SQLAlchemy", hint='pip install "po_jupyter[sql]"') from None
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except ImportError:  # a driver: said when it is opened
        pass
    except Exception:  # what it says may have a part of the password
        raise InvalidInput(
            "this is no URL of a database that SQLAlchemy knows",
            hint="Such as sqlite:///tickets.db or postgresql+psycopg://USER@HOST/NAME; in a password write %40 for @.",
        ) from None
    return parsed


def _check_file(url: URL, name: str) -> None:
    """A file of SQLite that is not there would be made. Raises Unavailable."""
    file = url.database
    if not file or file == ":memory:" or file.startswith("file:"):
        return
    if not Path(file).is_file():
        raise Unavailable(f"{name} cannot be reached: there is no such file")


def _without_secrets(message: str, url: URL) -> str:
    secrets = [str(url.password or ""), *(str(v) for k, v in url.query.items() if _SECRET.search(k))]
    for secret in filter(None, secrets):
        message = message.replace(secret, "***")
    return message
