"""The database of a run, `ctx.io.db()`: what an attempt wrote stays when, and only when, its outcome is durable (P2).

A stage commits at its end, so that other tasks and rows get their turn to write. How to take that back is written in
the same transaction, by temporary triggers, into the table `po_undo`. An attempt that failed, or whose worker died, is
taken back before anybody goes on; of one that succeeded the table is emptied. A piece of `ctx.io.batch` whose outcome
is recorded is never taken back.

Rows of ordinary tables are taken back, and tables, indexes, triggers and views that were made or dropped, and names and
columns that `alter table` gave. What cannot be taken back is refused: virtual tables, and columns that are dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

from po_jupyter.engine.files.row_changes import (
    ROW,
    WatchedTable,
    ordinary_tables,
    quoted_name,
    recording_triggers,
    row_condition,
    row_insertion,
    text_before,
)
from po_jupyter.engine.files.schema_changes import (
    DroppedTable,
    alteration,
    drop_triggers,
    dropped_table,
    refuse_virtual,
    schema_parts,
    undo_of_parts,
    unquoted,
    without_comment,
)
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY

DATABASE = "run.db"
piece: ContextVar[str] = ContextVar("po_batch_piece", default="")  # of a batch, that is worked on here

_opening = Lock()  # all attempts of a run are in one process
_TABLE = (
    "create table if not exists po_undo (id integer primary key, attempt text, piece text, kind text, sql text)"
)
_DDL = ("create", "alter", "drop")
_MADE, _SCHEMA = "made", "schema"


class RunDatabase(sqlite3.Connection):
    """A connection of one attempt, which records how to take back what it writes."""

    attempt = ""
    _schema = -1
    _watched: dict[str, str]  # the tables with triggers, as they were made

    def record(self, attempt: str) -> None:
        """Record from now on, under the path of the attempt."""
        self.attempt = attempt
        self._watched = {}
        self.create_function("po_piece", 0, piece.get)
        # `insert or replace` deletes rows; without this no trigger hears of it.
        self._plain("pragma recursive_triggers = on")
        if not self._plain("select 1 from main.sqlite_master where name = 'po_undo'").fetchone():
            self._plain(_TABLE)  # only then: who reads waits for no writer
        self.watch(made=False)

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that sees to tables which came meanwhile."""
        return super().cursor(factory or _WatchingCursor)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """See sqlite3."""
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """See sqlite3."""
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """See sqlite3."""
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.executescript(sql_script)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """One transaction, unless one is open: a table is made together with the record of it."""
        if self.in_transaction:
            yield
            return
        self._plain("begin immediate")
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def watch(self, *, made: bool) -> None:
        """Record writes to tables that are new since the last time. `made`: by this connection."""
        (version,) = self._plain("pragma schema_version").fetchone()
        if version == self._schema or not self.attempt:
            return
        known = {name for (name,) in self._plain("select name from temp.sqlite_master where type = 'trigger'")}
        tables = list(ordinary_tables(self._plain))
        present = {table.name: table.sql for table in tables}
        for name in [name for name, sql in self._watched.items() if present.get(name) != sql]:
            self.unwatch(name)  # altered, here or by another attempt: its triggers know the old columns
            known.discard(f"po_insert_{name}")
        for table in tables:
            if f"po_insert_{table.name}" in known:
                continue
            if made and self._schema != -1:
                self._record_made(table)
            for trigger in recording_triggers(self.attempt, table):
                self._plain(trigger)
            self._watched[table.name] = table.sql
        self._schema = version

    def unwatch(self, name: str) -> None:
        """Record no more writes to a table."""
        for verb in ("insert", "update", "delete"):
            self._plain(f"drop trigger if exists temp.{quoted_name(f'po_{verb}_{name}')}")
        self._watched.pop(name, None)

    def change_schema(self, sql: str, change: Callable[[], object]) -> None:
        """Make a change of the schema, and record how to take it back."""
        alter = alteration(sql)
        before = schema_parts(self._plain)
        if dropped := dropped_table(sql):
            self.record_dropped(dropped)
        if alter is not None and (table := self._table(unquoted(alter.table))):
            self.unwatch(table.name)
        change()
        if alter is not None:
            self._record(_SCHEMA, alter.undo)
        tables = {
            name.lower() for (name,) in self._plain("select name from main.sqlite_master where type = 'table'")
        }
        if alter is None:  # it changes the text of what belongs to the table, and so does what takes it back
            for undo in undo_of_parts(before, schema_parts(self._plain), tables):
                self._record(_SCHEMA, undo)
        self.watch(made=alter is None)

    def _record(self, kind: str, undo: str) -> None:
        values = (self.attempt, piece.get(), kind, undo)
        self._plain("insert into po_undo (attempt, piece, kind, sql) values (?, ?, ?, ?)", values)

    def record_dropped(self, dropped: DroppedTable) -> None:
        """Record how to make a table again that is about to be dropped."""
        if dropped.database not in ("", "main") or (
            dropped.database == "" and self._is_temporary(dropped.name)
        ):
            return  # it goes with the connection, or is no part of the run's database
        name = dropped.name
        made = self._plain(
            "select sql from main.sqlite_master where tbl_name = ? collate nocase and sql is not null"
            " order by type = 'table', rowid desc",
            (name,),
        ).fetchall()
        table = self._table(name)
        if not made or table is None:
            return
        for (sql,) in made[:-1]:  # its indexes and triggers: made again last
            self._record(ROW, sql)
        # Not by deleting them: a table that is dropped fires no trigger.
        self._record_rows(table, row_insertion(table, ""))
        self._record(ROW, made[-1][0])

    def _is_temporary(self, name: str) -> bool:
        found = "select 1 from temp.sqlite_master where type = 'table' and name = ? collate nocase"
        return self._plain(found, (name,)).fetchone() is not None

    def _table(self, name: str) -> WatchedTable | None:
        """The ordinary table of that name, if there is one."""
        return next(
            (table for table in ordinary_tables(self._plain) if table.name.lower() == name.lower()), None
        )

    def _record_made(self, table: WatchedTable) -> None:
        self._record(_MADE, table.name)
        # `create table ... as select`: its rows came before any trigger
        delete = text_before(f"delete from {quoted_name(table.name)} where ", row_condition(table.keys, ""))
        self._record_rows(table, delete)

    def _record_rows(self, table: WatchedTable, undo: str) -> None:
        """Record for each row what the SQL expression `undo` makes of it."""
        rows = f"select ?, ?, ?, {undo} from main.{quoted_name(table.name)}"
        self._plain(f"insert into po_undo (attempt, piece, kind, sql) {rows}", (self.attempt, piece.get(), ROW))

    def _plain(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        cursor = super().cursor(sqlite3.Cursor)
        cursor.row_factory = None
        return cursor.execute(sql, values)


class _WatchingCursor(sqlite3.Cursor):
    """A cursor of a `RunDatabase`."""

    def execute(self, sql: str, parameters: Any = (), /) -> _WatchingCursor:
        """See sqlite3."""
        database = self.connection
        assert isinstance(database, RunDatabase)
        database.watch(made=False)
        bare = without_comment(sql)
        if not bare[:6].lower().startswith(_DDL):
            super().execute(sql, parameters)
            return self
        refuse_virtual(bare)
        with database.whole():
            # Once more, now that nobody else writes: a table that another attempt made meanwhile, and its rows, are
            # not this one's to take back.
            database.watch(made=False)
            database.change_schema(bare, partial(super().execute, sql, parameters))
        return self

    def executemany(self, sql: str, parameters: Any, /) -> _WatchingCursor:
        """See sqlite3."""
        database = self.connection
        assert isinstance(database, RunDatabase)
        database.watch(made=False)
        super().executemany(sql, parameters)
        return self

    def executescript(self, sql_script: str, /) -> _WatchingCursor:
        """See sqlite3; statement by statement, so that rows of a table that the script makes are recorded."""
        if self.connection.in_transaction:
            self.connection.commit()
        for statement in _statements(sql_script):
            self.execute(statement)
        return self


def open_database(run_dir: Path, attempt: str) -> RunDatabase:
    """The database of the run in `run_dir`, for the attempt with that path (`files.artifacts`)."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
    # Sync stages run in a thread of their own; the connection is closed from the loop's.
    # IMMEDIATE: a transaction that begins with a look is refused, without a wait, when another wrote since.
    database = sqlite3.connect(
        run_dir / DATABASE,
        timeout=30.0,
        check_same_thread=False,
        factory=RunDatabase,
        isolation_level="IMMEDIATE",
    )
    try:
        with _opening:  # making it is refused without a wait, too
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.record(attempt)
    except BaseException:
        database.close()
        raise
    return database


def keep_piece(database: sqlite3.Connection, name: str) -> None:
    """The outcome of a piece is in this transaction: what the piece wrote is not taken back any more."""
    if isinstance(database, RunDatabase):
        database.execute("delete from po_undo where attempt = ? and piece = ?", (database.attempt, name))


def settle(run_dir: Path, succeeded: Callable[[str], bool]) -> None:
    """Take back every attempt but those that succeeded, whose records are forgotten. Raises sqlite3.Error.

    Nobody else may use the database meanwhile.
    """
    path = run_dir / DATABASE
    if not path.is_file():
        return
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as database:
        if not database.execute("select 1 from sqlite_master where name = 'po_undo'").fetchone():
            return
        attempts = [name for (name,) in database.execute("select distinct attempt from po_undo")]
        if not attempts:
            return
        database.execute("begin immediate")
        _take_back(database, [attempt for attempt in attempts if not succeeded(attempt)])
        database.execute("delete from po_undo")
        database.execute("commit")


def take_back(run_dir: Path, attempt: str, *, alone: bool) -> None:
    """Take back what a failed attempt wrote. Raises sqlite3.Error.

    An empty table that it made is dropped when the attempt is `alone`, and other changes of the schema are taken back:
    another row, at work at the same moment, may have found it there and be about to write to it.
    """
    with closing(sqlite3.connect(run_dir / DATABASE, timeout=30.0, isolation_level=None)) as database:
        database.execute("begin immediate")
        _take_back(database, [attempt], drop_tables=alone)
        database.execute("commit")


def _take_back(database: sqlite3.Connection, attempts: Iterable[str], *, drop_tables: bool = True) -> None:
    for attempt in attempts:
        records = database.execute(
            "select kind, sql from po_undo where attempt = ? order by id desc", (attempt,)
        ).fetchall()
        for changes_rows, group in groupby(records, _changes_rows):
            # What the user's triggers did is recorded too, and taken back itself.
            triggers = drop_triggers(database.execute) if changes_rows else []
            for kind, sql in group:
                try:
                    _take_back_one(database, kind, sql, drop_tables)
                except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
                    if not _is_of_others(error, kind):
                        raise  # with all of the transaction; the record stays
            for trigger in triggers:
                database.execute(trigger)
        database.execute("delete from po_undo where attempt = ?", (attempt,))


def _changes_rows(record: tuple[str, str]) -> bool:
    kind, sql = record
    return kind == ROW and not sql.startswith("CREATE")  # a table that was dropped, and what belonged to it


def _take_back_one(database: sqlite3.Connection, kind: str, sql: str, drop_tables: bool) -> None:
    if kind == ROW or (kind == _SCHEMA and drop_tables):
        database.execute(sql)
    elif kind == _SCHEMA:
        return  # another row may count on it
    elif drop_tables and not database.execute(f"select 1 from {quoted_name(sql)} limit 1").fetchone():
        database.execute(f"drop table {quoted_name(sql)}")


def _is_of_others(error: sqlite3.Error, kind: str) -> bool:
    """Whether there is nothing to take back any more: another attempt's row or table is there, or it dropped the table,
    or counts on the change of the schema. A full disk, or a statement that is wrong, is no such thing."""
    if isinstance(error, sqlite3.IntegrityError):
        return True
    if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
        return False
    return kind != ROW or str(error).startswith("no such table") or str(error).endswith("already exists")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \t\r\n;"):
                yield statement
            statement = ""
    if statement.strip(" \t\r\n;"):
        yield statement.removesuffix(";")
