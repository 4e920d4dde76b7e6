"""The rows of a store in PostgreSQL as a shard of keys and values: which key is a row of which table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, LiteralString, NamedTuple

from psycopg import Connection, sql

from po_jupyter.errors import CorruptRow
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.json_codec import Unreadable, decode, encode, pack, unpack
from po_jupyter.store.keyed.run_index import digest
from po_jupyter.store.postgres.schema import HELD, WAITS, kind_of
from po_jupyter.store.protocol import Head, waits_for_worker

_RUN_TABLES = {"head": "heads", "def": "definitions"}
_RECORD_TABLES = {"c": "records", "p": "payloads"}


class _Place(NamedTuple):
    table: str
    run: str | None = None
    n: int | None = None

    @property
    def kind(self) -> Literal["record", "run", "row"]:
        return "record" if self.n is not None else "run" if self.run is not None else "row"

    def values(self, key: str) -> tuple[object, ...]:
        return {"record": (self.run, self.n), "run": (self.run,), "row": (key,)}[self.kind]


_SELECT: Mapping[str, LiteralString] = {
    "record": "SELECT body FROM {table} WHERE run = %s AND n = %s",
    "run": "SELECT body FROM {table} WHERE run = %s",
    "row": "SELECT body FROM {table} WHERE key = %s",
}
_DELETE: Mapping[str, LiteralString] = {
    "record": "DELETE FROM {table} WHERE run = %s AND n = %s",
    "run": "DELETE FROM {table} WHERE run = %s",
    "row": "DELETE FROM {table} WHERE key = %s",
}
_RUNS: LiteralString = "SELECT run, body FROM {table} WHERE run = ANY(%s)"
_ROWS: LiteralString = "SELECT key, body FROM {table} WHERE key = ANY(%s)"
_SIZE: LiteralString = "SELECT coalesce(sum(octet_length(body)), 0) FROM {table} WHERE run = %s"


def _place(key: str) -> _Place:
    kind, _, rest = key.partition("/")
    if (table := _RUN_TABLES.get(kind)) is not None:
        return _Place(table, rest)
    if (table := _RECORD_TABLES.get(kind)) is not None:
        run, _, n = rest.rpartition("/")
        return _Place(table, run, int(n))
    return _Place("rows")


class PostgresShard:
    """Reads at once; writes when `flush` is called, in the order they came in. `is_committing`: whether what
    was written is durable is known to the server alone."""

    keeps_lists = False

    def __init__(self, connection: Connection[Any], schema: str, where: str) -> None:
        """`where` names the store to people."""
        self._connection = connection
        self._schema = schema
        self._where = where
        self._changed: dict[str, bytes | None] = {}  # JSON texts, None: erased
        self.is_committing = False

    # -- reading --------------------------------------------------------------------------------
    def read(self, key: str) -> Any | None:
        """See `Shard`."""
        text = self.text(key)
        return None if text is None else self._decoded(key, text)

    def text(self, key: str) -> bytes | None:
        """See `Shard`."""
        if key in self._changed:
            return self._changed[key]
        body = self._body(key)
        return None if body is None else self._unpacked(key, body)

    def _body(self, key: str) -> bytes | None:
        place = _place(key)
        row = self._execute(_SELECT[place.kind], place.table, place.values(key)).fetchone()
        return None if row is None else row[0]

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        """See `Shard`. The keys are of records of one run."""
        texts = zip(keys, self.texts(keys), strict=True)
        return [None if text is None else self._decoded(key, text) for key, text in texts]

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Shard`."""
        if not keys:
            return []
        places = [_place(key) for key in keys]
        table, run = places[0].table, places[0].run
        found = dict(
            self._execute(
                "SELECT n, body FROM {table} WHERE run = %s AND n = ANY(%s)",
                table,
                (run, [p.n for p in places]),
            ).fetchall()
        )
        bodies = ((key, found.get(place.n)) for key, place in zip(keys, places, strict=True))
        return [None if body is None else self._unpacked(key, body) for key, body in bodies]

    def keys(self, prefix: str) -> list[str]:
        """See `Shard`."""
        found = self._execute(
            "SELECT key FROM {table} WHERE starts_with(key, %s) ORDER BY key", "rows", (prefix,)
        )
        return [key for (key,) in found.fetchall()]

    def read_rows(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        """See `Shard`. The keys are of heads, or of rows that have no table of their own."""
        tables: dict[str, dict[str, str]] = {}  # by table, the keys by the values that find them
        for key in keys:
            place = _place(key)
            tables.setdefault(place.table, {})[key if place.run is None else place.run] = key
        found: dict[str, Any | CorruptRow] = {}
        for table, by_name in tables.items():
            statement = _ROWS if table == "rows" else _RUNS
            for name, body in self._execute(statement, table, (list(by_name),)).fetchall():
                key = by_name[name]
                try:
                    found[key] = self._value(key, body)
                except CorruptRow as error:
                    found[key] = error
        return found

    def measure(self, run: str) -> int:
        """See `Shard`."""
        tables = (*_RUN_TABLES.values(), *_RECORD_TABLES.values())
        size = sum(int(self._execute(_SIZE, table, (run,)).fetchone()[0]) for table in tables)
        return size + len(self._body(f"snap/{run}") or b"")

    # -- writing --------------------------------------------------------------------------------
    def write(self, key: str, value: Any) -> None:
        """See `Shard`."""
        self._changed[key] = encode(value)

    def erase(self, key: str) -> bool:
        """See `Shard`."""
        existed = self._changed[key] if key in self._changed else self._body(key)
        self._changed[key] = None
        return existed is not None

    def erase_records(self, run: str, last: int | None) -> None:
        """See `Shard`."""
        for table in _RECORD_TABLES.values():
            self._execute("DELETE FROM {table} WHERE run = %s", table, (run,))

    def reclaim(self) -> None:
        """See `Shard`: autovacuum does it."""

    def flush(self) -> None:
        """Send what was written. In a pipeline its errors come at the end of the transaction."""
        for key, text in self._changed.items():
            self._send(key, _place(key), text)

    def changed_runs(self) -> list[str]:
        """The runs whose heads were written or erased."""
        return [run for kind, _, run in (key.partition("/") for key in self._changed) if kind == "head"]

    def _send(self, key: str, place: _Place, text: bytes | None) -> None:
        if text is None:
            self._execute(_DELETE[place.kind], place.table, place.values(key))
            return
        body = pack(text)
        if place.table == "heads":
            head = decode(text)
            columns = (digest(head["owner"]), digest(head["pipeline"]), head["state"], body, *_place_of(head))
            kind = kind_of(head.get("shareable"))
            self._execute(_UPSERT_HEAD, "heads", (place.run, *columns, "parent" in head, kind))
        elif (
            place.n is not None
        ):  # a number that is there already is somebody's record: an error, not an update
            self._execute("INSERT INTO {table} VALUES (%s, %s, %s)", place.table, (place.run, place.n, body))
        elif place.run is not None:
            self._execute(_UPSERT_DEFINITION, place.table, (place.run, body))
        else:
            self._execute(_UPSERT_ROW, place.table, (key, body))

    # -- both -----------------------------------------------------------------------------------
    def heads(self, query: LiteralString, values: Sequence[object]) -> Iterator[tuple[str, Any]]:
        """(run, body) of heads; `query` selects them from `{table}`, with its placeholders."""
        # Never prepared: after some calls the server would keep one plan for any values, and read all runs for few.
        statement = _statement(query, self._schema, "heads")
        return iter(self._connection.execute(statement, values, prepare=False).fetchall())

    def rows(self, query: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query over heads; otherwise as `heads`."""
        statement = _statement(query, self._schema, "heads")
        return self._connection.execute(statement, values, prepare=False).fetchall()

    def _execute(self, statement: LiteralString, table: str, values: Sequence[object]) -> Any:
        return self._connection.execute(_statement(statement, self._schema, table), values)

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


@lru_cache(maxsize=500)
def _statement(statement: LiteralString, schema: str, table: str) -> bytes:
    return sql.SQL(statement).format(table=sql.Identifier(schema, table)).as_bytes(None)


def _place_of(head: Head) -> tuple[int, int | None]:
    """The priority of a run and where it stands (`schema.WAITS`, `HELD`, None for neither)."""
    held = head["holder"] is not None and head["state"] not in ENDED
    return head["priority"], HELD if held else WAITS if waits_for_worker(head) else None


_UPSERT_HEAD = """INSERT INTO {table} AS head (run, owner, pipeline, state, body, priority, place, is_child, kind)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (run) DO UPDATE
    SET state = EXCLUDED.state, body = EXCLUDED.body, priority = EXCLUDED.priority, place = EXCLUDED.place,
        writes = head.writes + 1"""
_UPSERT_DEFINITION = "INSERT INTO {table} VALUES (%s, %s) ON CONFLICT (run) DO UPDATE SET body = EXCLUDED.body"
_UPSERT_ROW = "INSERT INTO {table} VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET body = EXCLUDED.body"
