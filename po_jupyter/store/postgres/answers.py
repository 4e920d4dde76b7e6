"""Answers of models that are kept for later runs, in the database that several machines share (`CallCache`).

    answers(key, at, body)   `at` by the database's clock

It is a cache, as the one on a disk is: a worker never sees an error, who counts or clears answers does. A database that
is slow or away knows nothing and keeps nothing, for a while without being asked again, and no call waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
import structlog
from psycopg import Connection, sql

from po_jupyter.errors import StoreUnusable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.json_codec import Unreadable, decode, encode, pack, unpack
from po_jupyter.store.packed_answer import PackedAnswer
from po_jupyter.store.postgres.store import connection_options, parts_of

log = structlog.get_logger(__name__)

T = TypeVar("T")
_STATEMENT = 500  # ms that a statement of a worker may take
_TENDING = 60_000  # ms, of what keeps it in bounds
_PAUSE = 10.0  # s until a database that could not be used is asked again
_SHARE = 0.1  # of the bound, that one answer may take
_ROOM = 0.9  # of the bound, that is left once rows had to go

_FIND: LiteralString = """SELECT key, body FROM {table} WHERE key = ANY(%s)
    AND (%s = 0 OR at >= now() - make_interval(secs => %s))"""
_KEEP: LiteralString = """INSERT INTO {table} (key, body) VALUES (%s, %s)
    ON CONFLICT (key) DO UPDATE SET body = EXCLUDED.body, at = now()"""
_MEASURE: LiteralString = """SELECT count(*), coalesce(sum(octet_length(body)), 0) FROM {table}
    WHERE starts_with(key, %s)"""
_PAGE: LiteralString = """SELECT at, key, body FROM {table} WHERE (at, key) > (%s::timestamptz, %s)
    ORDER BY at, key LIMIT %s"""
_ADD: LiteralString = """INSERT INTO {table} (key, at, body) VALUES (%s, to_timestamp(%s), %s)
    ON CONFLICT (key) DO NOTHING"""
_CLEAR: LiteralString = "DELETE FROM {table} WHERE starts_with(key, %s)"
_TOO_OLD: LiteralString = "DELETE FROM {table} WHERE %s > 0 AND at < now() - make_interval(secs => %s)"
_TOO_MUCH: LiteralString = """DELETE FROM {table} WHERE key IN (
    SELECT key FROM (SELECT key, sum(octet_length(body)) OVER (ORDER BY at DESC, key) AS bytes FROM {table}) AS sized
    WHERE bytes > %s)"""
_DAY = 86_400.0
_AT_ONCE = 500  # rows of one page


class PostgresAnswers:
    """The cache in the database of `url`, at most `max_bytes` large; rows older than `days` (0: any age) are not found.

    It blocks. An instance belongs to one thread, which also closes it. Values are JSON objects.
    """

    def __init__(self, url: str, *, max_bytes: int, days: float = 0) -> None:
        """See the class. Nothing is connected before the first use. Raises InvalidInput for a URL that is none."""
        self._conninfo, self._schema, self._where = parts_of(url)
        self._max_bytes = max_bytes
        self._seconds = days * _DAY
        self._connection: Connection[Any] | None = None
        self._pause_until = 0.0
        self._has_warned = False

    # -- for workers ----------------------------------------------------------------------------
    def find(self, keys: Sequence[str]) -> Mapping[str, JsonObject]:
        """The values of those keys that have one."""
        rows = self._try(lambda: self._rows(_FIND, [*keys], self._seconds, self._seconds), _STATEMENT) or []
        values = {}
        for key, body in rows:
            try:
                value = decode(unpack(bytes(body)))
            except Unreadable:
                continue  # not written by us
            if type(value) is dict:
                values[key] = value
        return values

    def keep(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Put all rows, in one transaction."""
        packed = [(key, pack(encode(value))) for key, value in rows]
        # In the order of keys, so that two who write the same ones do not wait for each other in a circle.
        some = sorted(row for row in packed if len(row[1]) <= self._max_bytes * _SHARE)

        def write() -> None:
            connection = self._opened(_STATEMENT)
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(self._statement(_KEEP), some)

        if some:
            self._try(write, _STATEMENT)

    def close(self) -> None:
        """Disconnect; the next use connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- maintenance ----------------------------------------------------------------------------
    def prepare(self) -> None:
        """Delete what is too old or too much."""
        self._try(self._trim, _TENDING)
        self.close()

    def clear(self, prefix: str = "") -> int:
        """Delete every row whose key begins with `prefix`; their number. Raises StoreUnusable."""
        return self._maintain(
            lambda: self._opened(_TENDING).execute(self._statement(_CLEAR), (prefix,)).rowcount
        )

    def measure(self, prefix: str = "") -> tuple[int, int]:
        """The number of rows whose key begins with `prefix`, and the bytes of their values. Raises
        StoreUnusable."""
        ((count, size),) = self._maintain(lambda: self._rows(_MEASURE, prefix))
        return int(count), int(size)

    def pages(self) -> Iterator[list[PackedAnswer]]:
        """All rows, in pages, the oldest first. Raises StoreUnusable."""
        last: tuple[object, str] = ("-infinity", "")
        while rows := self._maintain(lambda: self._rows(_PAGE, *last, _AT_ONCE)):  # noqa: B023  # called at once
            yield [PackedAnswer(key, at.timestamp(), bytes(body)) for at, key, body in rows]
            last = rows[-1][:2]

    def add(self, rows: Sequence[PackedAnswer]) -> None:
        """Put rows as they are in another cache; those that are here stay. Raises StoreUnusable."""

        def write() -> None:
            connection = self._opened(_TENDING)
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(self._statement(_ADD), rows)

        self._maintain(write)

    # -- inside ---------------------------------------------------------------------------------
    def _trim(self) -> None:
        connection = self._opened(_TENDING)
        connection.execute(self._statement(_TOO_OLD), (self._seconds, self._seconds))
        if self._rows(_MEASURE, "")[0][1] > self._max_bytes:
            connection.execute(self._statement(_TOO_MUCH), (int(self._max_bytes * _ROOM),))

    def _rows(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        return self._opened(_STATEMENT).execute(self._statement(statement), values).fetchall()

    def _statement(self, statement: LiteralString) -> sql.Composed:
        return sql.SQL(statement).format(table=sql.Identifier(self._schema, "answers"))

    def _opened(self, patience: int) -> Connection[Any]:
        """The connection; a statement on it may take `patience` ms, of which the first use decides."""
        if self._connection is None:
            options = {**connection_options(self._conninfo), "connect_timeout": 2, "tcp_user_timeout": 2000}
            self._connection = psycopg.connect(
                psycopg.conninfo.make_conninfo(self._conninfo, application_name="po_jupyter", **options),
                autocommit=True,
            )
            # Nobody waits for the disk: what is lost is asked for again.
            self._connection.execute(
                """SELECT set_config('statement_timeout', %s, false), set_config('synchronous_commit', 'off', false),
                    set_config('default_transaction_isolation', 'read committed', false)""",
                (str(patience),),
            )
        return self._connection

    def _maintain(self, work: Callable[[], T]) -> T:
        """`work()` with the patience of maintenance, whatever workers found. Raises StoreUnusable."""
        self.close()  # another patience
        try:
            self._opened(_TENDING)
            return work()
        except psycopg.Error as error:
            raise StoreUnusable(
                f"the cache of answers in {self._where} cannot be used: {str(error).strip()[:300]}",
                hint="Answers may be there still: do it again once the database answers.",
            ) from error
        finally:
            self.close()

    def _try(self, work: Callable[[], T], patience: int) -> T | None:
        if time.monotonic() < self._pause_until:
            return None
        try:
            self._opened(patience)
            return work()
        except psycopg.Error as error:
            self.close()
            self._pause_until = time.monotonic() + _PAUSE
            if not self._has_warned:
                self._has_warned = True
                log.warning(
                    "answers of models are not cached", reason=str(error).strip()[:300], store=self._where,
                    hint="Calls are made as if there were no cache.",
                )  # fmt: skip
            return None
