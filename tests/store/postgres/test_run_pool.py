"""The runs that wait for a worker, and those that somebody has: found by index, whatever else there is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.distributed.share import fair_order
from po_jupyter.platform import processes
from po_jupyter.store.postgres import run_pool
from po_jupyter.store.postgres import shard as shard_module
from po_jupyter.store.postgres.shard import PostgresShard
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit, SharedStore
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.postgres import HEAD_BEFORE, PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture
def store(place: str) -> Iterator[PostgresStore]:
    store = PostgresStore(place)
    yield store
    store.close()


def create(
    store: PostgresStore, run: str, owner: str = "ada", priority: int = 0, shareable: bool | None = None
) -> None:
    store.create_run(new_run(run, priority=priority)._replace(owner=owner, shareable=shareable))


def names(store: PostgresStore, limit: int = 100) -> list[str]:
    return [head["run"] for head in fair_order([*store.waiting(limit), *store.held()])]


def test_a_run_waits_until_somebody_has_it_and_again_when_it_is_given_back(store: PostgresStore) -> None:
    assert isinstance(store, SharedStore)
    for number in range(3):
        create(store, f"00a{number}")
    lease = store.claim("00a1", processes.myself())
    assert names(store) == ["00a0", "00a2"]
    assert [head["run"] for head in store.held()] == ["00a1"]
    assert store.count_waiting() == 2
    store.commit(lease, Commit(events=[event("x")], state="running", release=True))
    assert names(store) == ["00a0", "00a1", "00a2"]
    lease = store.claim("00a1", processes.myself())
    store.commit(lease, Commit(state="waiting", release=True))
    assert names(store) == ["00a0", "00a2"]
    store.request("00a1", [event("x")], "pending")
    assert names(store) == ["00a0", "00a1", "00a2"]
    lease = store.claim("00a1", processes.myself())
    store.commit(lease, Commit(state="done"))
    assert names(store) == ["00a0", "00a2"]
    assert store.held() == []


def test_a_page_has_the_most_urgent_and_the_first_of_other_owners(store: PostgresStore) -> None:
    for number in range(30):
        create(store, f"00a{number:02}")
    for number in range(30):
        create(store, f"00b{number:02}", "bob", priority=3 if number == 29 else 0)
    create(store, "00c0", "cid")
    assert names(store, 4)[:5] == ["00b29", "00a00", "00c0", "00a01", "00b00"]
    assert len(store.waiting(4)) < 20
    lease = store.claim("00a00", processes.myself())
    assert names(store, 4)[:3] == ["00b29", "00c0", "00a01"] or names(store, 4)[:3] == [
        "00b29",
        "00b00",
        "00c0",
    ]
    store.commit(lease, Commit(release=True))


def test_runs_of_one_kind_are_found_behind_any_number_of_the_other(
    store: PostgresStore, place: str, server: PostgresServer
) -> None:
    """A node whose room for prompts is full looked through thousands of them each second, for one with Python."""
    schema = place.rpartition("schema=")[2]
    create(store, "00a0", shareable=True)
    create(store, "00a1", "bob", shareable=None)
    server.execute(
        f"""INSERT INTO "{schema}".heads (run, owner, pipeline, state, body, priority, place, kind)
            SELECT '00b' || lpad(n::text, 8, '0'), owner, pipeline, state, body, 0, 0, kind
            FROM "{schema}".heads, generate_series(1, 10000) AS n WHERE kind = 2"""
    )
    create(store, "00c0", shareable=False)
    create(store, "00c1", "cid", shareable=False)
    server.execute(f'ANALYZE "{schema}".heads')
    assert {head["run"] for head in store.waiting(100, [False])} == {"00a1", "00c0", "00c1"}
    assert {head["run"] for head in store.waiting(1, [False])} == {"00a1", "00c0", "00c1"}, (
        "first of each owner"
    )
    assert {head["run"] for head in store.waiting(100, [True])} == {"00a0", "00a1"}, "the others are its copies"
    assert {"00a1", "00c0"} < {head["run"] for head in store.waiting(100)}
    for query, values in ((run_pool.URGENT, (1, 16)), (run_pool.OF_OWNERS, ([b"x"], 1, 16))):
        text = query.replace("{table}", f'"{schema}".heads')
        plan = "\n".join(str(row) for row in server.execute(f"EXPLAIN {text}", *values))
        assert "heads_next" in plan and "Sort" not in plan, plan


def test_of_many_owners_each_has_its_turn(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_pool, "_OWNERS", 2)
    monkeypatch.setattr(run_pool, "_MOST_OWNERS", 3)
    for number in range(12):
        create(store, f"00{number:02}", f"owner{number}")
    seen: set[str] = set()
    for _ in range(200):
        seen.update(head["run"] for head in store.waiting(1))
        if len(seen) == 12:
            return
    pytest.fail(f"only {sorted(seen)}")


def test_what_an_earlier_version_writes_is_seen_for_what_it_is(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes are upgraded one after the other."""
    create(store, "00a0")
    create(store, "00a1")
    lease = store.claim("00a1", processes.myself())
    with monkeypatch.context() as before:
        before.setattr(shard_module, "_UPSERT_HEAD", HEAD_BEFORE)
        create(store, "00a2")
        store.commit(lease, Commit(release=True))
        store.claim("00a0", processes.myself())
    assert names(store) == ["00a1", "00a2"]
    assert [head["run"] for head in store.held()] == ["00a0"]
    store.claim("00a2", processes.myself())
    assert names(store) == ["00a1"]
    assert [head["run"] for head in store.held()] == ["00a0", "00a2"]


def test_ten_thousand_that_wait_cost_a_node_no_more_than_ten(
    store: PostgresStore, place: str, server: PostgresServer
) -> None:
    schema = place.rpartition("schema=")[2]
    create(store, "00a0")
    server.execute(
        f"""INSERT INTO "{schema}".heads SELECT '01' || lpad(n::text, 8, '0'), owner, pipeline, state, body, 0, 0
            FROM "{schema}".heads, generate_series(1, 10000) AS n"""
    )
    server.execute(f'ANALYZE "{schema}".heads')
    assert store.count_waiting() == 10_001
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert store.waiting(16)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02


@pytest.mark.parametrize("filters", [{}, {"owner": "ada"}, {"states": ("pending",)}, {"pipeline": "p"}])
def test_children_cost_a_list_of_whole_runs_one_query(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any]
) -> None:
    for run in ("00", "01", "02"):
        store.create_run(new_run(run, owner="ada", pipeline="p"))
    for number in range(60):
        store.create_run(new_run(f"1{number:04}", owner="ada", pipeline="p", parent="02"))
    queries: list[str] = []
    real = PostgresShard.heads
    monkeypatch.setattr(
        PostgresShard, "heads", lambda shard, query, values: queries.append(query) or real(shard, query, values)
    )
    assert [head["run"] for head in store.runs(limit=2, **filters).heads] == ["02", "01"]
    assert len(queries) == 1
    assert len(store.runs(limit=100, children=True, **filters).heads) == 63
