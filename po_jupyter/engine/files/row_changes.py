"""Rows of a run's database, and how what changed them is taken back (see `run_database`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

ROW = "row"  # the kind of record


class WatchedTable(NamedTuple):
    """An ordinary table, whose changes can be taken back."""

    name: str
    columns: list[str]
    keys: list[str]  # of a table without rowid
    sql: str


def ordinary_tables(
    execute: Callable[..., sqlite3.Cursor],
) -> Iterator[WatchedTable]:
    """Each ordinary table. What a virtual table keeps its rows in is none: SQLite ends the process when a trigger is on
    it."""
    made = execute("select name, sql from main.sqlite_master where type = 'table'").fetchall()
    virtual = tuple(name + "_" for name, sql in made if _is_virtual(sql))
    for name, sql in made:
        if name.startswith(("sqlite_", "po_", *virtual)) or _is_virtual(sql):
            continue
        info = execute(f"pragma main.table_xinfo({quoted_name(name)})").fetchall()
        columns = [column[1] for column in info if not column[6]]  # without generated ones
        keys = [column[1] for column in sorted(info, key=lambda column: column[5]) if column[5]]
        without_rowid = "".join((sql or "").lower().rpartition(")")[2].split()).find("withoutrowid") >= 0
        yield WatchedTable(name, columns, keys if without_rowid else [], sql or "")


def _is_virtual(sql: str | None) -> bool:
    return (sql or "").lstrip()[:14].lower() == "create virtual"


def recording_triggers(attempt: str, table: str, columns: Sequence[str], keys: Sequence[str]) -> Iterator[str]:
    """The triggers that record how to take back an insert, an update and a delete."""
    name = quoted_name(table)
    into = [*columns] if keys else ["rowid", *columns]
    old = [
        "old.rowid" if c == "rowid" and not keys and i == 0 else f"old.{quoted_name(c)}"
        for i, c in enumerate(into)
    ]
    values = " || ', ' || ".join(f"quote({value})" for value in old)
    listed = ", ".join("rowid" if i == 0 and not keys else quoted_name(c) for i, c in enumerate(into))
    restored = " || ', ' || ".join(
        f"{literal(quoted_name(c) + ' = ')} || quote(old.{quoted_name(c)})" for c in columns
    )
    undo: Mapping[str, str] = {
        "insert": text_before(f"delete from {name} where ", row_condition(keys, "new.")),
        "update": f"{literal(f'update {name} set ')} || {restored} || ' where ' || {row_condition(keys, 'new.')}",
        "delete": f"{literal(f'insert into {name} ({listed}) values (')} || {values} || ')'",
    }
    for verb, sql in undo.items():
        yield (
            f"create temp trigger if not exists {quoted_name(f'po_{verb}_{table}')} after {verb} on main.{name} begin "
            f"insert into po_undo (attempt, piece, kind, sql) "
            f"values ({literal(attempt)}, po_piece(), '{ROW}', {sql}); end"
        )


def row_condition(keys: Sequence[str], row: str) -> str:
    """An SQL expression: the condition, as text, that finds a row."""
    if not keys:
        return f"'rowid = ' || {row}rowid"
    return " || ' and ' || ".join(
        f"{literal(quoted_name(key) + ' = ')} || quote({row}{quoted_name(key)})" for key in keys
    )


def text_before(head: str, tail: str) -> str:
    """An SQL expression: a text and what an expression gives."""
    return f"{literal(head)} || {tail}"


def quoted_name(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
