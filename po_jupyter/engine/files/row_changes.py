"""Rows of a run's database, and how what changed them is taken back (see `run_database`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

ROW = "row"  # the kind of record
_NOT_ASCII = "'*[^' || char(1) || '-' || char(127) || ']*'"


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


def recording_triggers(attempt: str, table: WatchedTable) -> Iterator[str]:
    """The triggers that record how to take back an insert, an update and a delete."""
    name = quoted_name(table.name)
    restored = " || ', ' || ".join(
        text_before(f"{quoted_name(column)} = ", value_literal(f"old.{quoted_name(column)}"))
        for column in table.columns
    )
    found = row_condition(table.keys, "new.")
    undo: Mapping[str, str] = {
        "insert": text_before(f"delete from {name} where ", found),
        "update": f"{literal(f'update {name} set ')} || {restored} || ' where ' || {found}",
        "delete": row_insertion(table, "old."),
    }
    for verb, sql in undo.items():
        yield (
            f"create temp trigger if not exists {quoted_name(f'po_{verb}_{table.name}')} after {verb} on main.{name} "
            f"begin insert into po_undo (attempt, piece, kind, sql) "
            f"values ({literal(attempt)}, po_piece(), '{ROW}', {sql}); end"
        )


def row_insertion(table: WatchedTable, row: str) -> str:
    """An SQL expression: the statement, as text, that inserts a row again."""
    columns = [*([] if table.keys else ["rowid"]), *map(quoted_name, table.columns)]
    values = " || ', ' || ".join(value_literal(row + column) for column in columns)
    return text_before(
        f"insert into {quoted_name(table.name)} ({', '.join(columns)}) values (", f"{values} || ')'"
    )


def row_condition(keys: Sequence[str], row: str) -> str:
    """An SQL expression: the condition, as text, that finds a row."""
    if not keys:
        return f"'rowid = ' || {row}rowid"
    return " || ' and ' || ".join(
        text_before(f"{quoted_name(key)} = ", value_literal(f"{row}{quoted_name(key)}")) for key in keys
    )


def value_literal(value: str) -> str:
    """An SQL expression: a value as SQL has it. `quote` writes an infinity as a name, and cuts a text at a NUL; a text
    with bytes that are no UTF-8 could be written down, but not be read."""
    return (
        f"case when typeof({value}) = 'real' and abs({value}) = 9e999 "
        f"then case when {value} > 0 then '9e999' else '-9e999' end "
        f"when typeof({value}) = 'text' and (instr({value}, char(0)) or {value} glob {_NOT_ASCII}) "
        f"then 'cast(x''' || hex({value}) || ''' as text)' else quote({value}) end"
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
