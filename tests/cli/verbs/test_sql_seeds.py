"""`po run --sql` and `po estimate --sql`: the rows of a query as the seed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.errors import InvalidSeed
from tests.support.cli import fake_run, make_view

ROWS = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]


@pytest.fixture
def url(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "tickets.db")
    connection.execute("CREATE TABLE tickets (id INTEGER, text TEXT, raw BLOB)")
    connection.executemany("INSERT INTO tickets VALUES (?, ?, ?)", [(1, "a", b"x"), (2, "b", None)])
    connection.commit()
    connection.close()
    return f"sqlite:///{tmp_path}/tickets.db"


def test_the_rows_of_a_query_are_the_seed(
    po: Any, client: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.runs_there = [fake_run(make_view("pending")) for _ in range(3)]
    monkeypatch.setenv("TICKETS_URL", url)
    (tmp_path / "q.sql").write_text("SELECT id, text FROM tickets;\n")
    for sql, db in (("SELECT id, text FROM tickets", url), (f"@{tmp_path}/q.sql", "env:TICKETS_URL")):
        code, _, err = po("run", "tickets", "--sql", sql, "--db", db, "--no-follow")
        assert (code, err) == (0, "")
        assert client.submitted[-1][1] == ROWS
    code, _, err = po("estimate", "tickets", "--sql", f"@{tmp_path}/q.sql", "--db", url)
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sql", "SELECT 1"], "go together"), (["--db", "env:X"], "go together"),
        (["--sql", "SELECT 1", "--db", "env:X", "--seed", "[]"], "exclude each other"),
        (["--sql", "SELECT 1", "--db", "env:NOT_SET"], "is not set"),
        (["--sql", "DROP TABLE x", "--db", "sqlite://"], "a query is a SELECT"),
        (["--sql", "SELECT 1", "--db", "no url with hunter2"], "no URL of a database"),
        (["--sql", "SELECT 1", "--db", "sqlite:////nowhere/none.db"], "no such file"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_starts(
    po: Any, client: Any, options: list[str], message: str
) -> None:
    for verb in ("run", "estimate"):
        code, _, err = po(verb, "tickets", *options)
        assert code != 0
        assert message in err
        assert "hunter2" not in err
    assert client.submitted == []


def test_bytes_are_refused_with_their_column(url: str) -> None:
    from po_jupyter.platform.sql_query import read_query

    with pytest.raises(InvalidSeed) as raised:
        seed_of(read_query("SELECT raw FROM tickets", url, timeout=20), "tickets")
    assert raised.value.violations[0].where == "seed.rows[0].raw"
