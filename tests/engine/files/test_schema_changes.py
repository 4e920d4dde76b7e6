"""Statements that change the schema of a run's database, and those that take them back."""

from __future__ import annotations

import sqlite3

import pytest

from po_jupyter.engine.files.schema_changes import (
    alteration,
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
