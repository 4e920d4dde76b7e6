"""Statements that change the schema of a run's database, and those that take them back."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from po_jupyter.engine.files.schema_changes import (
    alteration,
    drop_triggers,
    dropped_table,
    refuse_virtual,
    schema_parts,
    undo_of_parts,
    without_comment,
)


@pytest.mark.parametrize(
    ("sql", "undo"),
    [
        ("alter table t rename to u", "alter table u rename to t"),
        ('ALTER TABLE main."a b"\nRENAME TO "c ""d""";', 'alter table "c ""d""" rename to "a b"'),
        ("alter table t rename column a to [b c]", "alter table t rename column [b c] to a"),
        ("alter table t rename a to b", "alter table t rename column b to a"),
        ("alter table t add column a text not null default 'x'", "alter table t drop column a"),
        ("alter table t add a", "alter table t drop column a"),
    ],
)
def test_what_alter_table_does_is_taken_back_by_its_opposite(sql: str, undo: str) -> None:
    found = alteration(sql)
    assert found is not None and found.undo == undo


@pytest.mark.parametrize("sql", ["alter table t drop a", "alter table /* odd */ t rename to u", "alter x"])
def test_what_has_no_opposite_is_refused(sql: str) -> None:
    with pytest.raises(sqlite3.NotSupportedError):
        alteration(sql)


def test_other_statements_are_no_alterations() -> None:
    assert alteration("create table alter_me (a)") is None
    refuse_virtual("create table virtual (a)")
    with pytest.raises(sqlite3.NotSupportedError, match="fts5"):
        refuse_virtual("CREATE  VIRTUAL\tTABLE f using fts5(a)")


def test_comments_before_a_statement_are_no_part_of_it() -> None:
    assert without_comment(" -- a\n /* b\n */ drop table t -- c") == "drop table t -- c"
    assert without_comment("-- nothing") == without_comment("/* never closed") == ""


def test_what_belongs_to_a_table_that_went_is_made_again_with_it() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(
        "create table t (a); create table u (a); create index i on t (a); create index j on u (a);"
    )
    before = schema_parts(database.execute)
    database.executescript("drop table t; drop index j; create view v as select 1;")
    undo = [*undo_of_parts(before, schema_parts(database.execute), {"u"})]
    database.close()
    assert undo == ["CREATE INDEX j on u (a)", 'drop view if exists "v"']


@pytest.mark.parametrize(
    ("sql", "database", "name"),
    [
        ("drop table t -- old", "", "t"),
        ("DROP TABLE t /* x */ ;", "", "t"),
        ("drop table t /* never closed", "", "t"),
        ("drop table't'", "", "t"),
        ("drop table 'it''s'", "", "it's"),
        ("drop /* x */ table t", "", "t"),
        ("drop/**/table/**/if/**/exists/**/t", "", "t"),
        ('drop table if exists"if"', "", "if"),
        ('drop table "MAIN".t', "main", "t"),
        ("drop table [main].[t]", "main", "t"),
        ('drop table "main" . "t"', "main", "t"),
        ("drop table `a``b`", "", "a`b"),
        ('drop table "a -- b /* c"', "", "a -- b /* c"),
        ("drop table t$1", "", "t$1"),
        ("drop table \N{SNOWMAN}", "", "\N{SNOWMAN}"),
        ("drop \ufefftable t", "", "t"),
        ("drop table temp.t", "temp", "t"),
    ],
)
def test_the_table_of_a_drop_is_found_as_sqlite_finds_it(sql: str, database: str, name: str) -> None:
    assert dropped_table(sql) == (database, name)


@pytest.mark.parametrize(
    "sql", ["drop table", "drop table a b", "drop table a.b.c", "drop table a; drop table b"]
)
def test_a_drop_that_is_not_understood_is_refused(sql: str) -> None:
    with pytest.raises(sqlite3.NotSupportedError, match="drop table NAME"):
        dropped_table(sql)


def test_other_drops_are_of_no_table() -> None:
    assert dropped_table("drop index t") is dropped_table("drop view if exists v") is None
    assert dropped_table("create table drop_table (a)") is None


def test_empty_statements_and_a_byte_order_mark_are_no_part_of_a_statement() -> None:
    assert without_comment("\ufeff ; -- a\n ;drop table t") == "drop table t"


def test_a_trigger_belongs_to_its_table_however_that_is_written() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript("create table t (a); create trigger tr after insert on T begin select 1; end")
        before = schema_parts(database.execute)
        (made,) = drop_triggers(database.execute)
        after = schema_parts(database.execute)
    assert [*undo_of_parts(before, after, {"t"})] == [made]
