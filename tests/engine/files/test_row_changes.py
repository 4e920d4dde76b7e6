"""Values and rows of a run's database, written as SQL that takes changes back."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from po_jupyter.engine.files.row_changes import (
    WatchedTable,
    ordinary_tables,
    row_condition,
    row_insertion,
    value_literal,
)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        yield opened


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -(2**63),
        0.1 + 0.2,
        5e-324,
        -1.7976931348623157e308,
        math.inf,
        -math.inf,
        "",
        "it's",
        "a\0b",
        "\0",
        "1\0",
        "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS} \N{GRINNING FACE}",
        b"",
        b"a\0\xff",
        "x" * 100_000 + "\0",
    ],
)
def test_a_value_is_written_so_that_it_is_read_as_it_was(database: sqlite3.Connection, value: object) -> None:
    database.execute("create table t (v)")
    database.execute("insert into t values (?)", (value,))
    (text,) = database.execute(f"select {value_literal('v')} from t").fetchone()
    assert database.execute(f"select {text}, typeof({text}) from t").fetchone() == (
        value,
        *database.execute("select typeof(v) from t").fetchone(),
    )
    found = f"select {text} is v and (v is null or v = {text}) from t"
    assert database.execute(found).fetchone() == (1,)


def test_a_row_is_found_and_inserted_again_by_its_key(database: sqlite3.Connection) -> None:
    database.execute("create table t (v, a text, b real, primary key (b, a)) without rowid")
    database.execute("insert into t values (?, ?, ?), (?, ?, ?)", (1, "a\0b", math.inf, 2, "a\0c", math.inf))
    (table,) = ordinary_tables(database.execute)
    assert table[:3] == ("t", ["v", "a", "b"], ["b", "a"])
    rows = database.execute("select * from t").fetchall()
    undo = f"select {row_condition(table.keys, '')}, {row_insertion(table, '')} from t where v = 1"
    condition, insertion = database.execute(undo).fetchone()
    database.execute(f"delete from t where {condition}")
    assert database.execute("select * from t").fetchall() == rows[1:]
    database.execute(insertion)
    assert database.execute("select * from t").fetchall() == rows


def test_a_row_without_a_key_keeps_its_number() -> None:
    table = WatchedTable('a "b', ["x"], [], "")
    assert row_condition(table.keys, "new.") == "'rowid = ' || new.rowid"
    assert row_insertion(table, "old.").startswith("""'insert into "a ""b" (rowid, "x") values (' || """)
