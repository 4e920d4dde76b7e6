"""The tables of a store in PostgreSQL, all in one schema, and their migrations.

    heads(run, owner, pipeline, state, body)   summaries; owner and pipeline as digests, for the filters of lists
    definitions(run, body)                     {definition, idempotency}
    records(run, n, body), payloads(run, n, body)
    rows(key, body)                            documents, names of documents, idempotency keys
    format(version)                            one row

A body is a packed value (`json_codec.pack`), as in the store on disk. `external`: PostgreSQL would compress it again.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from po_jupyter.errors import StoreUnusable

VERSION = 1
_FIND = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'format'"
_STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS {schema}",
    """CREATE TABLE IF NOT EXISTS {schema}.heads (
        run text COLLATE "C" PRIMARY KEY, owner bytea NOT NULL, pipeline bytea NOT NULL, state text NOT NULL,
        body bytea NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS heads_by_owner ON {schema}.heads (owner, run DESC)",
    "CREATE INDEX IF NOT EXISTS heads_by_pipeline ON {schema}.heads (pipeline, run DESC)",
    """CREATE INDEX IF NOT EXISTS heads_not_ended ON {schema}.heads (run)
        WHERE state IN ('pending', 'running', 'waiting')""",
    """CREATE INDEX IF NOT EXISTS heads_ended_badly ON {schema}.heads (state, run DESC)
        WHERE state IN ('failed', 'cancelled', 'dead')""",
    'CREATE TABLE IF NOT EXISTS {schema}.definitions (run text COLLATE "C" PRIMARY KEY, body bytea NOT NULL)',
    """CREATE TABLE IF NOT EXISTS {schema}.records (
        run text COLLATE "C", n integer, body bytea NOT NULL, PRIMARY KEY (run, n))""",
    """CREATE TABLE IF NOT EXISTS {schema}.payloads (
        run text COLLATE "C", n integer, body bytea NOT NULL, PRIMARY KEY (run, n))""",
    'CREATE TABLE IF NOT EXISTS {schema}.rows (key text COLLATE "C" PRIMARY KEY, body bytea NOT NULL)',
    *(
        f"ALTER TABLE {{schema}}.{table} ALTER COLUMN body SET STORAGE EXTERNAL"
        for table in ("heads", "definitions", "records", "payloads", "rows")
    ),
    # Rewritten by each commit: room for the next version of a row lies on the same page, and no index is touched.
    "ALTER TABLE {schema}.heads SET (fillfactor = 70)",
    "CREATE TABLE IF NOT EXISTS {schema}.format (version integer PRIMARY KEY)",
)


def version_of(connection: Connection[Any], schema: str) -> int | None:
    """The version of the tables, None where there are none."""
    # Not by name: a name that was looked up before another process made the table is remembered as missing.
    there = connection.execute(_FIND, (schema,)).fetchone()
    row = connection.execute(_in(schema, "SELECT version FROM {schema}.format")).fetchone() if there else None
    return None if row is None else int(row[0])


def migrate(connection: Connection[Any], schema: str, where: str) -> None:
    """Make the tables what this version needs; nothing when they are. Raises StoreUnusable for those of a newer one.

    Of several that come at once one does it. Its role has to own the schema, or may create one.
    """
    if _is_current(version_of(connection, schema), where):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('po_jupyter'), hashtext(%s))", (schema,))
        if _is_current(version_of(connection, schema), where):
            return
        for statement in _STATEMENTS:
            connection.execute(_in(schema, statement))
        connection.execute(_in(schema, "INSERT INTO {schema}.format VALUES (%s)"), (VERSION,))


def _is_current(version: int | None, where: str) -> bool:
    if version is not None and version > VERSION:
        raise StoreUnusable(
            f"the store {where} was written by a newer po_jupyter (its format is {version}, this one knows {VERSION})",
            hint="Use that version here.",
        )
    return version == VERSION


def _in(schema: str, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(schema))
