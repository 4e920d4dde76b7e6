"""Queries of SQL databases: what they read, what is refused, and what no message has."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.platform.sql_query import NewRows, check_query, database_url, read_query


@pytest.fixture
def url(tmp_path: Path) -> str:
    file = tmp_path / "tickets.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE tickets (id INTEGER PRIMARY KEY, text TEXT, part REAL)")
    connection.executemany(
        "INSERT INTO tickets VALUES (?, ?, ?)", [(1, "a", 0.5), (2, "b:c;", None), (3, "%x", 2)]
    )
    connection.commit()
    connection.close()
    return f"sqlite:///{file}"


def read(
    query: str, url: str, *, most: int = 1000, new: NewRows | None = None, timeout: float = 20.0
) -> list[dict[str, object]]:
    return read_query(query, url, timeout=timeout, most=most, new=new)


def test_rows_have_the_names_of_their_columns(url: str) -> None:
    assert read("SELECT id, text AS t, part FROM tickets ORDER BY id", url) == [
        {"id": 1, "t": "a", "part": 0.5}, {"id": 2, "t": "b:c;", "part": None}, {"id": 3, "t": "%x", "part": 2.0},
    ]  # fmt: skip
    assert read("SELECT id FROM tickets WHERE id > 9", url) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT text FROM tickets WHERE text LIKE '%:c;'", "-- which?\nselect text from tickets where id = 2; ",
        "WITH t AS (SELECT * FROM tickets) SELECT text FROM t WHERE id = 2 -- the second",
        "/* a; b */ SELECT text FROM tickets WHERE text = 'b:c;'",
    ],
)  # fmt: skip
def test_colons_percents_comments_and_semicolons_in_text_are_the_querys_own(url: str, query: str) -> None:
    assert read(query, url) == [{"text": "b:c;"}]
    assert read(query, url, new=NewRows("text", None)) == [{"text": "b:c;"}]


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM tickets", "SELECT 1; DELETE FROM tickets", "SELECT '\\'; DELETE FROM tickets --'", "", "PRAGMA x",
     "-- SELECT\nDROP TABLE tickets", "SELECT $$;$$"],
)  # fmt: skip
def test_what_is_not_one_select_is_refused_before_it_is_asked(query: str) -> None:
    with pytest.raises(InvalidInput, match="a query is"):
        check_query(query)


def test_a_select_that_writes_changes_nothing(url: str) -> None:
    with pytest.raises(InvalidInput, match="the query failed"):
        read("WITH t AS (SELECT 1) DELETE FROM tickets", url)
    assert len(read("SELECT * FROM tickets", url)) == 3


def test_rows_and_time_have_bounds(url: str) -> None:
    with pytest.raises(InvalidInput, match="more than 2 rows"):
        read("SELECT * FROM tickets", url, most=2)
    long = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, zeroblob(1000) AS blob FROM n"
    with pytest.raises(InvalidInput, match="more than 1,000,000 bytes"):
        read_query(long, url, timeout=20.0, most_bytes=1_000_000)
    parts = read_query(f"{long} LIMIT 5000", url, timeout=20.0, most_bytes=1_000_000, new=NewRows("x", 7))
    assert [row["x"] for row in parts[:2]] == [8, 9]
    assert 1_000 < len(parts) <= 2_000, "as many as are more than the bytes, in parts"
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(InvalidInput, match="took longer than"):
        read(endless, url, timeout=0.3)


def test_new_rows_are_those_behind_a_value_in_its_order(url: str) -> None:
    query = "SELECT text, id FROM tickets ORDER BY id DESC"
    assert [row["id"] for row in read(query, url, new=NewRows("id", None))] == [1, 2, 3]
    assert [row["id"] for row in read(query, url, new=NewRows("id", 1))] == [2, 3]
    assert [row["id"] for row in read(query, url, most=1, new=NewRows("id", None))] == [1, 2], (
        "one more than most"
    )
    assert read(query, url, new=NewRows("id", 3)) == []
    assert [row["part"] for row in read("SELECT * FROM tickets", url, new=NewRows("part", None))] == [0.5, 2.0]
    with pytest.raises(InvalidInput, match="other"):
        read(query, url, new=NewRows("other", None))


def test_two_columns_of_one_name_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="two columns of the query are called 'id'"):
        read("SELECT id, text, id FROM tickets", url)
    with pytest.raises(InvalidInput, match="no such table: gone"):
        read("SELECT * FROM gone", url)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no such file"):
        read("SELECT 1", f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["mysql+nothing://u:hunter2@h/d", "postgresql://u:hunter2@h:hunter2/d", "hunter2", "hunter2://x",
     "postgresql+psycopg2://u:hunter2@127.0.0.1:1/d", "postgresql://u:hunter2@/d?host=/nowhere",
     "postgresql://u@/d?host=/nowhere&password=hunter2", "postgres://u:p%40hunter2@/d?host=/nowhere/hunter2"],
)  # fmt: skip
def test_no_message_has_the_password(url: str) -> None:
    with pytest.raises((InvalidInput, Unavailable)) as raised:
        read("SELECT 1", url)
    problem = raised.value
    hidden = url.replace("/nowhere/hunter2", "")
    if hidden == url:
        assert "hunter2" not in f"{problem} {problem.hint}"
    assert problem.__cause__ is None
    assert "p@hunter2" not in str(problem)


def test_a_variable_has_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_URL", "sqlite:///t.db")
    assert database_url("env:TICKETS_URL") == database_url("sqlite:///t.db") == "sqlite:///t.db"
    monkeypatch.delenv("TICKETS_URL")
    with pytest.raises(InvalidInput, match="'TICKETS_URL' is not set"):
        database_url("env:TICKETS_URL")
