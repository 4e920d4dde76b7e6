"""The tables of a store in PostgreSQL, all in one schema, and their migrations.

    heads(run, owner, pipeline, state, body, priority, place, writes, is_child, kind)
        summaries; owner and pipeline as digests, for the filters of lists; priority, place, writes and kind for those
        who look for work; is_child for a run that is part of another one, which most lists pass over
    definitions(run, body)                     {definition, idempotency}
    records(run, n, body), payloads(run, n, body)
    rows(key, body)                            documents, names of documents, idempotency keys, snapshots
    answers(key, at, body)                     the cache of calls (`answers`)
    format(version)                            one row

A body is a packed value (`json_codec.pack`), as in the store on disk. `external`: PostgreSQL would compress it again.
"""

from __future__ import annotations

from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import Connection, sql

from po_jupyter.errors import StoreUnusable

TABLES = ("heads", "definitions", "records", "payloads", "rows", "answers", "format")
_FIND = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'format'"
_FIRST = (
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
    "INSERT INTO {schema}.format SELECT 1 WHERE NOT EXISTS (SELECT FROM {schema}.format)",
)
# An index for each way to filter, with the state in it: a list asks for each state apart. What is dropped comes first
# and takes the strongest lock at once: after CREATE INDEX, writers that have read a head would wait for us, and we for
# them.
_LISTS = (
    "DROP INDEX IF EXISTS {schema}.heads_by_owner",
    "DROP INDEX IF EXISTS {schema}.heads_by_pipeline",
    "DROP INDEX IF EXISTS {schema}.heads_ended_badly",
    "CREATE INDEX IF NOT EXISTS heads_of_both ON {schema}.heads (owner, pipeline, state, run)",
    "CREATE INDEX IF NOT EXISTS heads_of_owner ON {schema}.heads (owner, state, run)",
    "CREATE INDEX IF NOT EXISTS heads_of_pipeline ON {schema}.heads (pipeline, state, run)",
    "CREATE INDEX IF NOT EXISTS heads_of_state ON {schema}.heads (state, run)",
    "UPDATE {schema}.format SET version = 2",
)
# How the runs stand that have not ended, for who looks for work: as the body says, where an index finds it. A program
# of an earlier version does not write it, nor does it count `writes`: then it is unknown.
WAITS, HELD, UNKNOWN = 0, 1, 2
IS_WAITING: LiteralString = "place IN (0, 2) AND state IN ('pending', 'running')"
IS_HELD: LiteralString = "place IN (1, 2) AND state IN ('pending', 'running', 'waiting')"
_POOL = (
    "ALTER TABLE {schema}.heads ADD COLUMN IF NOT EXISTS priority smallint, "
    "ADD COLUMN IF NOT EXISTS place smallint DEFAULT 2, ADD COLUMN IF NOT EXISTS writes integer DEFAULT 0",
    """CREATE OR REPLACE FUNCTION {schema}.place_is_unknown() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN NEW.place := 2; RETURN NEW; END'""",
    """CREATE OR REPLACE TRIGGER place_is_unknown BEFORE UPDATE ON {schema}.heads FOR EACH ROW
        WHEN (NEW.writes IS NOT DISTINCT FROM OLD.writes) EXECUTE FUNCTION {schema}.place_is_unknown()""",
    f"CREATE INDEX IF NOT EXISTS heads_urgent ON {{schema}}.heads (priority DESC, run) WHERE {IS_WAITING}",
    f"CREATE INDEX IF NOT EXISTS heads_waiting ON {{schema}}.heads (owner, priority DESC, run) WHERE {IS_WAITING}",
    f"CREATE INDEX IF NOT EXISTS heads_held ON {{schema}}.heads (run) WHERE {IS_HELD}",
    """CREATE TABLE IF NOT EXISTS {schema}.answers (
        key text COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), body bytea NOT NULL)""",
    "ALTER TABLE {schema}.answers ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE INDEX IF NOT EXISTS answers_by_age ON {schema}.answers (at)",
    "UPDATE {schema}.format SET version = 3",
)
# A program of an earlier version makes no child runs, and leaves the column of one alone. The column is no reason for
# more indexes of filters: a part of another run is passed over where the rows are read.
_CHILDREN = (
    "ALTER TABLE {schema}.heads ADD COLUMN IF NOT EXISTS is_child boolean NOT NULL DEFAULT false",
    "CREATE INDEX IF NOT EXISTS heads_whole ON {schema}.heads (run) WHERE NOT is_child",
    "UPDATE {schema}.format SET version = 4",
)
# A node that has room for runs of one kind alone finds them behind any number of the other. An earlier version looks
# without these indexes' first column, which takes it longer while nodes are upgraded, and leaves the kind unknown.
_KINDS = (
    "ALTER TABLE {schema}.heads ADD COLUMN IF NOT EXISTS kind smallint NOT NULL DEFAULT 0",
    "DROP INDEX IF EXISTS {schema}.heads_urgent",
    "DROP INDEX IF EXISTS {schema}.heads_waiting",
    f"CREATE INDEX IF NOT EXISTS heads_next ON {{schema}}.heads (kind, priority DESC, run) WHERE {IS_WAITING}",
    "CREATE INDEX IF NOT EXISTS heads_next_of_owner ON {schema}.heads (kind, owner, priority DESC, run) "
    f"WHERE {IS_WAITING}",
    "UPDATE {schema}.format SET version = 5",
)
# The statements that lead to version 1, 2, ...; the last one of each sets it. Safe to run twice.
_STEPS: tuple[tuple[str, ...], ...] = (_FIRST, _LISTS, _POOL, _CHILDREN, _KINDS)
VERSION = len(_STEPS)
_ALL: tuple[LiteralString, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")


def kind_of(shareable: bool | None) -> int:
    """The kind of a run in its row, by whether a process of many may work it off; 0 where that is not known."""
    return 0 if shareable is None else 1 + shareable


class SchemaState(NamedTuple):
    """What is there of the tables, and what is missing: SQL that a role which may do it runs.

    `version` is None where there are no tables, and where this role may not even look. `may_migrate`: it may run the
    SQL itself. `grants` are of what it may not do with the tables that are there.
    """

    version: int | None
    needs: int
    may_migrate: bool
    statements: list[str]
    grants: list[str]

    @property
    def is_ready(self) -> bool:
        """Whether a server whose role this is can start."""
        return self.version == self.needs and not self.grants


def version_of(connection: Connection[Any], schema: str) -> int | None:
    """The version of the tables, None where there are none."""
    # Not by name: a name that was looked up before another process made the table is remembered as missing.
    there = connection.execute(_FIND, (schema,)).fetchone()
    row = connection.execute(_in(schema, "SELECT version FROM {schema}.format")).fetchone() if there else None
    return None if row is None else int(row[0])


def state_of(connection: Connection[Any], schema: str, where: str) -> SchemaState:
    """What is there and what is missing; nothing is changed. Raises StoreUnusable for tables of a newer version, and
    where nothing can be written."""
    _check_writable(connection, where)
    try:
        version = version_of(connection, schema)
    except psycopg.errors.InsufficientPrivilege:
        return SchemaState(None, VERSION, False, [], _grants(connection, schema))
    steps = [] if _is_current(version, where) else _steps_after(version)
    may_migrate = _may_migrate(connection, schema)
    return SchemaState(
        version,
        VERSION,
        may_migrate,
        [_in(schema, statement).as_string(connection) for statement in steps],
        # Who makes the tables may use them.
        [] if steps and may_migrate else _grants(connection, schema),
    )


def migrate(connection: Connection[Any], schema: str, where: str) -> int | None:
    """Make the tables what this version needs; nothing when they are. The version that they had, None for none.

    Of several that come at once one does it. Its role has to own the schema, or may create one. Raises StoreUnusable
    for tables of a newer version, and where the role may not do it.
    """
    version = version_of(connection, schema)
    if _is_current(version, where):
        return version
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('po_jupyter'), hashtext(%s))", (schema,))
            version = version_of(connection, schema)
            if not _is_current(version, where):
                if version is None:
                    _check_encoding(connection, where)
                for statement in _steps_after(version):
                    connection.execute(_in(schema, statement))
    except psycopg.errors.InsufficientPrivilege as error:
        reason = (
            "has no tables yet" if version is None else f"has format {version}, this program needs {VERSION}"
        )
        raise StoreUnusable(
            f"the store {where} {reason}, and this role may not change that: {error.diag.message_primary}",
            hint="`po store migrate --check` prints the SQL for a role that may.",
            details={"format": version, "known": VERSION},
        ) from error
    return version


def _steps_after(version: int | None) -> list[str]:
    return [statement for step in _STEPS[version or 0 :] for statement in step]


def _check_encoding(connection: Connection[Any], where: str) -> None:
    """Raises StoreUnusable for a database that cannot hold every name. SQL_ASCII takes bytes as they come."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise StoreUnusable(
            f"the store {where} is a database with the encoding {encoding}, in which not every name can be written",
            hint="Create it with CREATE DATABASE NAME TEMPLATE template0 ENCODING 'UTF8'.",
        )


def _check_writable(connection: Connection[Any], where: str) -> None:
    """Raises StoreUnusable where every transaction is read-only, whatever the role may do."""
    row = connection.execute("SELECT current_setting('transaction_read_only'), pg_is_in_recovery()").fetchone()
    if row is not None and row[0] == "on":
        reason = (
            "it is a standby"
            if row[1]
            else "default_transaction_read_only is on for its server, database or role"
        )
        raise StoreUnusable(
            f"the store {where} can only be read: {reason}",
            hint="Name the primary server, or a role that may write; some hosts set that when the disk is full.",
        )


def _may_migrate(connection: Connection[Any], schema: str) -> bool:
    row = connection.execute(
        """SELECT CASE WHEN nspowner IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                  ELSE pg_has_role(nspowner, 'USAGE') END
           FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_namespace ON nspname = %s""",
        (schema,),
    ).fetchone()
    return bool(row and row[0])


def _grants(connection: Connection[Any], schema: str) -> list[str]:
    """The statements that give this role what it lacks of the rights to the tables."""
    rows = connection.execute(
        """SELECT relname, has_schema_privilege(n.oid, 'USAGE'),
                  ARRAY(SELECT r FROM unnest(%s::text[]) AS r WHERE has_table_privilege(c.oid, r))
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
           WHERE nspname = %s AND relkind = 'r'""",
        (list(_ALL), schema),
    ).fetchall()
    there = {table: set(rights) for table, _, rights in rows}
    name, role = sql.Identifier(schema), sql.Identifier(connection.info.user)
    grants = []
    if not rows or not rows[0][1]:
        grants.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name, role))
    for table in TABLES:
        needed = ("SELECT",) if table == "format" else _ALL
        if not there.get(table, set()).issuperset(needed):
            rights = sql.SQL(", ").join(map(sql.SQL, needed))
            grants.append(sql.SQL("GRANT {} ON {} TO {}").format(rights, sql.Identifier(schema, table), role))
    return [grant.as_string(connection) for grant in grants]


def _is_current(version: int | None, where: str) -> bool:
    if version is not None and version > VERSION:
        raise StoreUnusable(
            f"the store {where} was written by a newer po_jupyter (its format is {version}, this one knows {VERSION})",
            hint="Use that version here.",
            details={"format": version, "known": VERSION},
        )
    return version == VERSION


def _in(schema: str, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(schema))
