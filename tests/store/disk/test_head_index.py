"""Filtered lists are made from an index that a store gains by itself, and that an older program cannot make wrong."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import CorruptRow
from po_jupyter.store.disk import head_index
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed import run_index, run_log
from po_jupyter.store.keyed.listing import WantedRuns
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.testing.conformance.store import event, new_run

OWNERS, PIPELINES, STATES = ("ada", "bob", "\ud800"), ("p", "q" * 5000), ("pending", "done", "failed", "dead")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", shards=2)
    yield store
    store.close()


def create(store: DiskStore, number: int) -> str:
    run = f"00{number:06d}"
    store.create_run(new_run(run, owner=OWNERS[number % 3], pipeline=PIPELINES[number % 2]))
    state = STATES[number % 4]
    if state != "pending":
        store.request(run, [event(f"run.{state}")], state=state)
    return run


def walked(store: DiskStore, **filters: Any) -> list[str]:
    """The same list without an index."""
    heads = KeyedStore._newest_first(store, WantedRuns(), None, 10_000)
    return [
        head["run"]
        for head in heads
        if head["owner"] == filters.get("owner", head["owner"])
        and head["pipeline"] == filters.get("pipeline", head["pipeline"])
        and head["state"] in (filters.get("states") or STATES)
    ]


def paged(store: DiskStore, limit: int, **filters: Any) -> list[str]:
    found, cursor = [], None
    while True:
        page = store.runs(**filters, cursor=cursor, limit=limit)
        found += [head["run"] for head in page.heads]
        cursor = page.next
        if cursor is None:
            return found


def all_filters() -> Iterator[dict[str, Any]]:
    for owner, pipeline, states in itertools.product(
        (None, *OWNERS, "nobody"),
        (None, *PIPELINES, "none"),
        ((), ("done",), ("failed", "dead"), ("pending", "done")),
    ):
        filters = {"owner": owner, "pipeline": pipeline, "states": states}
        yield {name: value for name, value in filters.items() if value}


def test_every_filter_gives_what_a_walk_over_all_runs_gives(store: DiskStore) -> None:
    for number in range(60):
        create(store, number)
    for filters in all_filters():
        assert paged(store, 7, **filters) == walked(store, **filters), filters
    for number in range(60, 80):  # and what comes after the index was made
        create(store, number)
    store.delete_run("00000001")
    store.request("00000002", [event("run.resumed")], state="pending")
    for filters in all_filters():
        assert paged(store, 7, **filters) == walked(store, **filters), filters


def test_what_a_program_without_the_index_did_is_seen(tmp_path: Path, store: DiskStore) -> None:
    """Old and new programs on one store: heads that one writes as it always did are read again."""
    for number in range(20):
        create(store, number)
    assert paged(store, 5, owner="ada") == walked(store, owner="ada")
    old = DiskStore(tmp_path / "store")
    for number in range(-1, old.shards):
        old._thread_of(number).do(lambda shard: None, True)
        old._thread_of(number)._cache.has_head_index = False
    order = random.Random(7)
    for number in range(20, 40):
        create(old, number)
        run = order.choice([head["run"] for head in old.runs(limit=100).heads])
        state = order.choice(STATES)
        old.request(run, [event("x")], state=state)
        store.request(run, [event("y")])
        if state != "pending" and order.random() < 0.3:
            old.delete_run(run)
        for filters in (
            {"owner": "ada"},
            {"states": ("failed", "dead")},
            {"pipeline": "p", "states": ("done",)},
        ):
            assert paged(store, 5, **filters) == walked(store, **filters), (number, filters)
    old.close()


def test_a_head_that_cannot_be_read_is_a_row_of_every_list_it_may_be_of(
    tmp_path: Path, store: DiskStore
) -> None:
    for number in range(6):
        create(store, number)
    for filters in ({"owner": "ada"}, {"states": ("done",)}):
        paged(store, 5, **filters)
    for file in (tmp_path / "store").glob("runs-*/cache.db"):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE Cache SET value = X'6A7B' WHERE key = 'head/00000000'")
    assert [h["run"] for h in store.runs(owner="ada").heads if "damage" in h] == ["00000000"]
    with pytest.raises(CorruptRow):
        store.head("00000000")
    store.delete_run("00000000")
    assert paged(store, 5, owner="ada") == walked(store, owner="ada")


def test_where_nothing_can_be_written_lists_are_made_without_it(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        create(store, number)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(head_index, "_learn", fail)
    assert paged(store, 5, owner="ada") == walked(store, owner="ada")


def test_a_commit_writes_no_more_pages_for_it(tmp_path: Path, store: DiskStore) -> None:
    """A commit that changes no state leaves the index alone."""
    run = create(store, 0)
    paged(store, 5, owner="ada")
    before = list(rows(tmp_path))
    store.request(run, [event("x")])
    assert list(rows(tmp_path)) == before
    assert before == [(run, "pending")]


def rows(tmp_path: Path) -> Iterator[tuple[str, str]]:
    for file in (tmp_path / "store").glob("runs-*/cache.db"):
        with closing(sqlite3.connect(file)) as database:
            assert not database.execute(
                "SELECT name FROM sqlite_master WHERE name = 'PoUnknown'"
            ).fetchall() or (database.execute("SELECT * FROM PoUnknown").fetchall() == [])
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'PoHeads'").fetchall():
                yield from database.execute("SELECT run, state FROM PoHeads")


@pytest.mark.parametrize(
    "filters", [{}, {"owner": "ada"}, {"states": ("done",)}, {"states": ("done", "pending")}]
)
def test_children_cost_a_list_of_whole_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any]
) -> None:
    """The parts of many maps are newer than the run that a page begins with."""
    store = DiskStore(tmp_path / "store", shards=1)
    for run in ("00", "01", "02"):
        store.create_run(new_run(run, owner="ada"))
        store.request(run, [event("run.done")], state="done")
    for number in range(300):
        store.create_run(new_run(f"1{number:04}", owner="ada", parent="02"))
        store.request(f"1{number:04}", [event("run.done")], state="done")
    assert [head["run"] for head in store.runs(limit=2, **filters).heads] == ["02", "01"]  # gains its index
    read: list[str] = []
    real = run_log.listed_heads
    monkeypatch.setattr(run_log, "listed_heads", lambda shard, runs: read.extend(runs) or real(shard, runs))
    page = store.runs(limit=2, **filters)
    assert [head["run"] for head in page.heads] == ["02", "01"]
    assert store.runs(limit=2, cursor=page.next, **filters).heads[0]["run"] == "00"
    assert len(read) <= 10
    assert len(paged(store, 500, children=True, **filters)) == 303
    assert paged(store, 100, children=True, **filters) == paged(store, 500, children=True, **filters)
    store.delete_run("10000")
    assert "10000" not in paged(store, 500, children=True, **filters)
    store.close()


def test_children_that_an_earlier_program_listed_are_passed_over(store: DiskStore) -> None:
    """They stand in the list of whole runs."""
    store.create_run(new_run("00"))
    for number in range(20):
        store.create_run(new_run(f"1{number:04}", parent="00"))
        store._run(f"1{number:04}", lambda shard, run=f"1{number:04}": run_index.add(shard, run), write=True)
    assert paged(store, 1) == ["00"]
    assert len(paged(store, 7, children=True)) == 21
