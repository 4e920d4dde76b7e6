"""The rows of a store in PostgreSQL as a shard of keys and values: which key is a row of which table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection, sql

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import Unreadable, decode, encode, pack, unpack

_RUN_TABLES = {"head": "heads", "def": "definitions"}
_RECORD_TABLES = {"c": "records", "p": "payloads"}


class _Place(NamedTuple):
    table: str
    run: str | None = None
    n: int | None = None


def _place(key: str) -> _Place:
    kind, _, rest = key.partition("/")
    if (table := _RUN_TABLES.get(kind)) is not None:
        return _Place(table, rest)
    if (table := _RECORD_TABLES.get(kind)) is not None:
        run, _, n = rest.rpartition("/")
        return _Place(table, run, int(n))
    return _Place("rows")


def digest(text: str) -> bytes:
    """The value by which lists filter: any text, of any length, as PostgreSQL and its indexes take it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class PostgresShard:
    """Reads at once, writes when `flush` is called: in one exchange with the server, in the order they came in."""

    keeps_lists = False

    def __init__(self, connection: Connection[Any], schema: str, where: str) -> None:
        """`where` names the store to people."""
        self._connection = connection
        self._schema = sql.Identifier(schema)
        self._where = where
        self._changed: dict[str, bytes | None] = {}  # JSON texts, None: erased

    # -- reading --------------------------------------------------------------------------------
    def read(self, key: str) -> Any | None:
        """See `Shard`."""
        text = self.text(key)
        return None if text is None else self._decoded(key, text)

    def text(self, key: str) -> bytes | None:
        """See `Shard`."""
        if key in self._changed:
            return self._changed[key]
        where, values = _condition(_place(key), key)
        row = self._execute("SELECT body FROM {table} WHERE " + where, _place(key).table, values).fetchone()
        return None if row is None else self._unpacked(key, row[0])

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        """See `Shard`. The keys are of records of one run."""
        if not keys:
            return []
        places = [_place(key) for key in keys]
        table, run = places[0].table, places[0].run
        found = dict(
            self._execute(
                "SELECT n, body FROM {table} WHERE run = %s AND n = ANY(%s)", table, (run, [p.n for p in places])
            ).fetchall()
        )
        bodies = (found.get(place.n) for place in places)
        return [None if body is None else self._value(key, body) for key, body in zip(keys, bodies, strict=True)]

    def measure(self, run: str) -> int:
        """See `Shard`."""
        tables = [*_RUN_TABLES.values(), *_RECORD_TABLES.values()]
        parts = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT octet_length(body) AS size FROM {table} WHERE run = %(run)s").format(
                table=sql.SQL("{}.{}").format(self._schema, sql.Identifier(table))
            )
            for table in tables
        )
        row = self._connection.execute(sql.SQL("SELECT coalesce(sum(size), 0) FROM ({}) AS sizes").format(parts), {"run": run})
        ((size,),) = row.fetchall()
        return int(size)

    # -- writing --------------------------------------------------------------------------------
    def write(self, key: str, value: Any) -> None:
        """See `Shard`."""
        self._changed[key] = encode(value)

    def erase(self, key: str) -> bool:
        """See `Shard`."""
        existed = self.text(key) is not None
        self._changed[key] = None
        return existed

    def erase_records(self, run: str, last: int | None) -> None:
        """See `Shard`."""
        for table in _RECORD_TABLES.values():
            self._execute("DELETE FROM {table} WHERE run = %s", table, (run,))

    def reclaim(self) -> None:
        """See `Shard`: autovacuum does it."""

    def flush(self) -> None:
        """Send what was written."""
        with self._connection.pipeline():
            for key, text in self._changed.items():
                self._send(key, _place(key), text)

    def _send(self, key: str, place: _Place, text: bytes | None) -> None:
        if text is None:
            where, values = _condition(place, key)
            self._execute("DELETE FROM {table} WHERE " + where, place.table, values)
            return
        body = pack(text)
        if place.table == "heads":
            head = decode(text)
            columns = (digest(head["owner"]), digest(head["pipeline"]), head["state"], body)
            self._execute(_UPSERT_HEAD, "heads", (place.run, *columns))
        elif place.n is not None:  # a number that is there already is somebody's record: an error, not an update
            self._execute("INSERT INTO {table} VALUES (%s, %s, %s)", place.table, (place.run, place.n, body))
        elif place.run is not None:
            self._execute(_UPSERT_DEFINITION, place.table, (place.run, body))
        else:
            self._execute(_UPSERT_ROW, place.table, (key, body))

    # -- both -----------------------------------------------------------------------------------
    def heads(self, where: LiteralString, values: Sequence[object]) -> Iterator[tuple[str, Any]]:
        """(run, body) of heads; `where` is the end of a SELECT, with its placeholders."""
        return iter(self._execute("SELECT run, body FROM {table} " + where, "heads", values).fetchall())

    def _execute(self, statement: LiteralString, table: str, values: Sequence[object]) -> Any:
        name = sql.SQL("{}.{}").format(self._schema, sql.Identifier(table))
        return self._connection.execute(sql.SQL(statement).format(table=name), values)

    def _value(self, key: str, body: bytes) -> Any:
        return self._decoded(key, self._unpacked(key, body))

    def _unpacked(self, key: str, body: bytes) -> bytes:
        try:
            return unpack(bytes(body))
        except Unreadable as error:
            raise self._corrupt(key, error) from None

    def _decoded(self, key: str, text: bytes) -> Any:
        try:
            return decode(text)
        except Unreadable as error:
            raise self._corrupt(key, error) from None

    def _corrupt(self, key: str, error: Unreadable) -> CorruptRow:
        return CorruptRow(
            f"the row {key} in {self._where} {error}",
            hint="Something else wrote into the store. Restore the database from a copy, or delete that run.",
            details={"key": key},
        )


_UPSERT_HEAD = """INSERT INTO {table} AS head VALUES (%s, %s, %s, %s, %s) ON CONFLICT (run) DO UPDATE
    SET state = EXCLUDED.state, body = EXCLUDED.body"""
_UPSERT_DEFINITION = "INSERT INTO {table} VALUES (%s, %s) ON CONFLICT (run) DO UPDATE SET body = EXCLUDED.body"
_UPSERT_ROW = "INSERT INTO {table} VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET body = EXCLUDED.body"


def _condition(place: _Place, key: str) -> tuple[LiteralString, tuple[object, ...]]:
    if place.n is not None:
        return "run = %s AND n = %s", (place.run, place.n)
    if place.run is not None:
        return "run = %s", (place.run,)
    return "key = %s", (key,)
