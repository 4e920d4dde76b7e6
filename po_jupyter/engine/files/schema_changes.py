"""Changes of the schema of a run's database, and how they are taken back (see `run_database`)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

_QUOTED = r""""(?:[^"]|"")+"|'(?:[^']|'')+'|`(?:[^`]|``)+`|\[[^\]]+\]"""
_NAME = rf"{_QUOTED}|[\w$\x80-\U0010ffff]+"
# Before its first word a statement may have comments, semicolons of empty statements, and a byte order mark.
_COMMENT = re.compile(r"[\s;\ufeff]*(?:--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))", re.DOTALL)
_SPACE = re.compile(rf"({_QUOTED})|--[^\n]*|/\*.*?(?:\*/|\Z)|(?<![\w$])\ufeff", re.DOTALL)
_DROP = re.compile(r"drop\s+table\b", re.IGNORECASE)
_DROP_TABLE = re.compile(
    rf"drop\s+table\s*(?:\bif\s+exists\b\s*)?(?:({_NAME})\s*\.\s*)?({_NAME})\s*;?\s*\Z", re.IGNORECASE
)
_ALTER = re.compile(rf"alter\s+table\s+(?:main\s*\.\s*)?({_NAME})\s+(.*)", re.IGNORECASE | re.DOTALL)
_RENAME = re.compile(rf"rename\s+to\s+({_NAME})\s*;?\s*\Z", re.IGNORECASE)
_RENAME_COLUMN = re.compile(rf"rename\s+(?:column\s+)?({_NAME})\s+to\s+({_NAME})\s*;?\s*\Z", re.IGNORECASE)
_ADD = re.compile(rf"add\s+(?:column\s+)?({_NAME})", re.IGNORECASE)
_VIRTUAL = re.compile(r"create\s+virtual\s", re.IGNORECASE)
_PARTS = "select type, name, tbl_name, sql from main.sqlite_master where type <> 'table' and sql is not null"

_TRIGGERS = (
    "select name, sql from main.sqlite_master where type = 'trigger' and exists (select 1 from main.sqlite_master made"
    " where made.type = 'table' and made.name = sqlite_master.tbl_name collate nocase) order by rowid"
)


class Alteration(NamedTuple):
    """An `alter table`: the name of the table as it is written, and the statement that takes it back."""

    table: str
    undo: str


class DroppedTable(NamedTuple):
    """The table of a `drop table`: its database (`main`, `temp`, one that is attached; "" when none is written)."""

    database: str
    name: str


class SchemaPart(NamedTuple):
    """An index, a trigger or a view of the database."""

    type: str
    name: str
    table: str
    sql: str

    @property
    def drop(self) -> str:
        """The statement that removes it."""
        name = self.name.replace('"', '""')
        return f'drop {self.type} if exists "{name}"'


def without_comment(sql: str) -> str:
    """A statement without what stands before its first word."""
    while comment := _COMMENT.match(sql):
        sql = sql[comment.end() :]
    return sql.lstrip(" \t\n\r\f\v;\ufeff")


def refuse_virtual(sql: str) -> None:
    """Raises sqlite3.NotSupportedError for a statement that makes a virtual table."""
    if _VIRTUAL.match(sql):
        raise sqlite3.NotSupportedError(
            "ctx.io.db() has no virtual tables (fts5, rtree): what is written to them could not be taken back after a "
            "crash. Make one in a database of your own: sqlite3.connect(':memory:'), or a file that is written as an "
            "artifact."
        )


def alteration(sql: str) -> Alteration | None:
    """The `alter table` that a statement is; None for any other. Raises sqlite3.NotSupportedError for one that cannot
    be taken back."""
    if sql[:5].lower() != "alter":
        return None
    if (parts := _ALTER.match(sql)) is not None:
        table, change = parts[1], parts[2]
        if renamed := _RENAME.match(change):
            return Alteration(table, f"alter table {renamed[1]} rename to {table}")
        if column := _RENAME_COLUMN.match(change):
            return Alteration(table, f"alter table {table} rename column {column[2]} to {column[1]}")
        if added := _ADD.match(change):
            return Alteration(table, f"alter table {table} drop column {added[1]}")
    raise sqlite3.NotSupportedError(
        "this `alter table` could not be taken back after a crash, so ctx.io.db() does not make it. Names "
        "can be changed and columns be added; for `drop column`: create table NEW as select ..., drop table OLD."
    )


def dropped_table(sql: str) -> DroppedTable | None:
    """The table that a `drop table` names; None for any other statement. Raises sqlite3.NotSupportedError for one that
    is not understood: its rows would be lost."""
    sql = _SPACE.sub(lambda found: found[1] or " ", sql)
    if _DROP.match(sql) is None:
        return None
    if (parts := _DROP_TABLE.match(sql)) is None:
        raise sqlite3.NotSupportedError(
            "this `drop table` is not understood, so it could not be taken back after a crash, and ctx.io.db() does "
            'not make it. Write one statement: drop table NAME, drop table if exists NAME, or drop table main."NAME".'
        )
    return DroppedTable(unquoted(parts[1] or "").lower(), unquoted(parts[2]))


def unquoted(name: str) -> str:
    """A name without the quotes that it is written in."""
    if name[:1] == "[":
        return name[1:-1]
    return name[1:-1].replace(name[0] * 2, name[0]) if name[:1] in ('"', "'", "`") else name


def drop_triggers(execute: Callable[[str], sqlite3.Cursor]) -> list[str]:
    """Drop the triggers of tables; the statements that make them again, in their order."""
    triggers = execute(_TRIGGERS).fetchall()
    for name, _ in triggers:
        quoted = name.replace('"', '""')
        execute(f'drop trigger main."{quoted}"')
    return [sql for _, sql in triggers]


def schema_parts(execute: Callable[[str], sqlite3.Cursor]) -> set[SchemaPart]:
    """The indexes, triggers and views of the database."""
    return {SchemaPart(*row) for row in execute(_PARTS)}


def undo_of_parts(before: set[SchemaPart], after: set[SchemaPart], tables: set[str]) -> Iterator[str]:
    """The statements that take back what came and went; what went with its table is made with that (`tables` are
    those that are there, in lower case; a trigger has the name of its table as it was written)."""
    yield from (part.sql for part in before - after if part.type == "view" or part.table.lower() in tables)
    yield from (part.drop for part in after - before)
