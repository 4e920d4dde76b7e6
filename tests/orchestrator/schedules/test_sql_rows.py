"""Schedules that read a SQL query: only new rows, each in one run, whatever comes between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Forbidden, InvalidInput
from po_jupyter.orchestrator.schedules import sql_rows
from po_jupyter.orchestrator.schedules.records import ScheduleRights
from tests.orchestrator.schedules.test_service import Office
from tests.support.schedules import OWNER, RIGHTS, Clockwork

SQL: Any = {"sql": "SELECT id, text FROM tickets", "db": "env:TICKETS_URL", "new_by": "id"}
LESS: ScheduleRights = {"code_allowed": False, "token": None, "expires_at": None}


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "tickets.db", isolation_level=None)
    connection.execute("CREATE TABLE tickets (id INTEGER, text TEXT)")
    monkeypatch.setenv("TICKETS_URL", f"sqlite:///{tmp_path}/tickets.db")
    yield connection
    connection.close()


def insert(tickets: sqlite3.Connection, *ids: int) -> None:
    tickets.executemany("INSERT INTO tickets VALUES (?, ?)", [(n, f"t{n}") for n in ids])


def had(clockwork: Clockwork) -> list[list[int]]:
    """The ids of each run's rows, the newest first."""
    seeds = [clockwork.store.definition(head["run"])["seed"]["data"] for head in clockwork.runs()]
    return [[row["id"] for row in seed["rows"]] for seed in seeds]


def test_each_row_is_in_one_run(clockwork: Clockwork, tickets: sqlite3.Connection) -> None:
    clockwork.add(pipeline="rows", seed=SQL)
    insert(tickets, 2, 1)
    clockwork.look(hours=1)
    clockwork.end_all()
    clockwork.look(hours=1)
    insert(tickets, 3)
    clockwork.look(hours=1)
    assert had(clockwork) == [[3], [1, 2]]
    assert [outcome for _, outcome in clockwork.told()] == ["run", "nothing", "run"]
    assert clockwork.outcomes()[1].get("note") == "there was no new row"


def test_two_that_look_at_once_make_one_run(clockwork: Clockwork, tickets: sqlite3.Connection) -> None:
    clockwork.add(pipeline="rows", seed=SQL)
    insert(tickets, 1)
    record = clockwork.record()
    first, second = (clockwork.another_runner().create(record, slot) for slot in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first.head["run"] == second.head["run"]
    clockwork.look(hours=1)
    insert(tickets, 2)
    clockwork.end_all()
    clockwork.look(hours=1)
    assert had(clockwork) == [[2], [1]]


def test_rows_of_one_value_stay_together_in_parts(
    clockwork: Clockwork, tickets: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_rows, "MOST_ROWS", 3)
    clockwork.add(pipeline="rows", seed=SQL)
    insert(tickets, 1, 1, 2, 2, 3)
    for _ in range(3):
        clockwork.look(hours=1)
        clockwork.end_all()
    assert had(clockwork) == [[2, 2, 3], [1, 1]]


@pytest.mark.parametrize(
    ("missed", "outcomes", "runs"),
    [("skip", ["missed", "missed", "run"], 1), ("last", ["missed", "run", "nothing"], 1),
     ("all", ["run", "nothing", "nothing"], 1)],
)  # fmt: skip
def test_a_database_that_is_away_is_what_was_missed(
    clockwork: Clockwork,
    tickets: sqlite3.Connection,
    tmp_path: Path,
    missed: str,
    outcomes: list[str],
    runs: int,
) -> None:
    clockwork.add(pipeline="rows", seed=SQL, missed=missed)
    insert(tickets, 1)
    (tmp_path / "tickets.db").rename(tmp_path / "away.db")
    for _ in range(2):
        if missed == "skip":
            clockwork.look(hours=1)
        else:
            with pytest.raises(sql_rows.DatabaseAway):
                clockwork.look(hours=1)
            assert "cannot be reached" in str(clockwork.record().get("trouble"))
    (tmp_path / "away.db").rename(tmp_path / "tickets.db")
    clockwork.look(minutes=1)
    while clockwork.record()["waiting"]:
        clockwork.end_all()
        clockwork.look()
    clockwork.end_all()
    clockwork.look(hours=1)
    assert [outcome for _, outcome in clockwork.told()] == outcomes
    assert len(clockwork.runs()) == runs
    assert clockwork.record().get("trouble") is None


async def test_only_who_may_run_code_has_a_database_read(tmp_path: Path, tickets: sqlite3.Connection) -> None:
    office = Office(tmp_path)
    more: Any = {"pipeline": "rows", "seed": SQL}
    with pytest.raises(Forbidden, match="any database that this server reaches"):
        await office.added(LESS, **more)
    added = await office.added(**more)
    with pytest.raises(Forbidden):
        await office.service.run(added["id"], owner=OWNER, rights=LESS)
    insert(tickets, 1)
    await office.service.run(added["id"], owner=OWNER, rights=RIGHTS)
    insert(tickets, 2)
    office.end_all()
    office.look(f"{OWNER}/{added['id']}", hours=1)
    assert had(office) == [[2], [1]], "a run by hand moves the mark too"
    with pytest.raises(InvalidInput, match="stay what they are"):
        await office.service.change(
            added["id"], {"seed": {**SQL, "new_by": "text"}}, owner=OWNER, rights=RIGHTS
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"db": "sqlite:///x.db"}, "a URL is not kept"), ({"db": "env:NOT_SET"}, "is not set"),
        ({"sql": "DROP TABLE x"}, "a query is"), ({"only_new": True}, "only_new"), ({"files": "a.csv"}, "it is"),
        ({"sql": 3}, "are text"),
    ],
)  # fmt: skip
async def test_mistakes_are_told_when_it_is_added(
    tmp_path: Path, tickets: sqlite3.Connection, change: dict[str, Any], message: str
) -> None:
    office = Office(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        await office.added(pipeline="rows", seed={**SQL, **change})
    assert office.schedules.keys() == []
