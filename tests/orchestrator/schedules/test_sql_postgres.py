"""SQL queries of a real PostgreSQL: types, what is read-only, and the new rows of a schedule by a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.errors import InvalidInput, InvalidSeed, Unavailable
from po_jupyter.platform.sql_query import read_query
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.schedules import Clockwork

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def test_types_become_json_as_those_of_frames(server: PostgresServer) -> None:
    query = """SELECT 1.50::numeric AS n, 'NaN'::float8 AS x, '2026-03-02 12:00+00'::timestamptz AT TIME ZONE 'UTC'
        AS at, '00000000-0000-0000-0000-000000000001'::uuid AS u, '{"a": [1]}'::jsonb AS j, 'a%:b' AS t,
        ARRAY[1, 2] AS l"""
    seed = seed_of(read_query(query, server.database, timeout=20), "x")
    assert seed.data["rows"] == [
        {"n": "1.50", "x": None, "at": "2026-03-02T12:00:00", "u": "00000000-0000-0000-0000-000000000001",
         "j": {"a": [1]}, "t": "a%:b", "l": [1, 2]}
    ]  # fmt: skip
    with pytest.raises(InvalidSeed):
        seed_of(read_query("SELECT 'x'::bytea AS b", server.database, timeout=20), "x")


def test_nothing_is_written_and_a_slow_query_ends(server: PostgresServer) -> None:
    with psycopg.connect(server.database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        for query in (
            "WITH d AS (DELETE FROM kept RETURNING id) SELECT * FROM d",
            "SELECT * INTO other FROM kept",
        ):
            with pytest.raises(InvalidInput, match="the query failed"):
                read_query(query, server.database, timeout=20)
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)
        with pytest.raises(InvalidInput, match="took longer"):
            read_query("SELECT pg_sleep(60)", server.database, timeout=1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        read_query("SELECT 1", server.database.replace(server.folder.rpartition("/")[2], "none"), timeout=20)


def test_new_rows_by_a_time_are_each_in_one_run(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETS_URL", server.database)
    clockwork = Clockwork(tmp_path)
    source = {"sql": "SELECT at, text FROM news ORDER BY text", "db": "env:TICKETS_URL", "new_by": "at"}
    clockwork.add(pipeline="rows", seed=source)
    with psycopg.connect(server.database, autocommit=True) as connection:
        connection.execute("CREATE TABLE news (at timestamptz, text text)")
        for text, at in (("a", "12:00:00.000001"), ("b", "12:00:00.000002"), ("c", None)):
            connection.execute(
                "INSERT INTO news VALUES (%s::timestamptz, %s)", [at and f"2026-03-02 {at}+00", text]
            )
        clockwork.look(hours=1)
        connection.execute("INSERT INTO news VALUES ('2026-03-02 12:00:00.000003+00', 'd')")
        clockwork.end_all()
        clockwork.look(hours=1)
        clockwork.look(hours=1)
    seeds = [clockwork.store.definition(head["run"])["seed"]["data"]["rows"] for head in clockwork.runs()]
    assert [[row["text"] for row in rows] for rows in seeds] == [["d"], ["a", "b"]]


def test_a_row_whose_value_is_said_with_fewer_digits_is_in_one_run(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `real` of 0.1 is greater than the 0.1 that its driver gives."""
    monkeypatch.setenv("TICKETS_URL", server.database)
    clockwork = Clockwork(tmp_path)
    source = {"sql": "SELECT at, 'x' AS text FROM measured", "db": "env:TICKETS_URL", "new_by": "at"}
    clockwork.add(pipeline="rows", seed=source)
    with psycopg.connect(server.database, autocommit=True) as connection:
        connection.execute("CREATE TABLE measured (at real)")
        connection.execute("INSERT INTO measured VALUES (0.1)")
        for value in (None, None, 0.2):
            if value is not None:
                connection.execute("INSERT INTO measured VALUES (%s)", [value])
            clockwork.look(hours=1)
            clockwork.end_all()
        clockwork.look(hours=1)
    seeds = [clockwork.store.definition(head["run"])["seed"]["data"]["rows"] for head in clockwork.runs()]
    assert [[row["at"] for row in rows] for rows in seeds] == [[0.2], [0.1]]
