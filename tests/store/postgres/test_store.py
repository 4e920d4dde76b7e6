"""What is of PostgreSQL alone: who may write at once, lists by columns, a server that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
import structlog

from po_jupyter.errors import CorruptRow, InvalidInput, StoreUnusable
from po_jupyter.platform import processes
from po_jupyter.store.keyed.run_index import digest
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


def name_of(place: str) -> str:
    return place.rpartition("schema=")[2]


def test_stores_of_different_schemas_know_nothing_of_each_other(server: PostgresServer) -> None:
    first, second = PostgresStore(server.url()), PostgresStore(server.url())
    first.create_run(new_run("00a1"))
    assert second.runs().heads == []
    first.close()
    second.close()


def test_writers_of_one_run_wait_for_each_other(place: str) -> None:
    """Each sees what the one before it wrote: the numbers of records have no gaps and no doubles."""
    stores = [PostgresStore(place) for _ in range(4)]
    stores[0].create_run(new_run("00a1"))

    def write(store: PostgresStore) -> None:
        for _ in range(25):
            store.request("00a1", [event("x")])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, stores))
    assert [record["n"] for record in stores[0].records("00a1")] == list(range(1, 102))
    for store in stores:
        store.close()


def test_text_that_postgresql_cannot_hold_is_kept_all_the_same(place: str) -> None:
    """NUL, halves of a surrogate pair, and names that are longer than an index takes."""
    store = PostgresStore(place)
    strange = {"owner": "a\0b", "pipeline": "p" * 20_000, "name": "\ud800"}
    store.create_run(new_run("00a1", **strange))
    assert [head["run"] for head in store.runs(owner="a\0b", pipeline="p" * 20_000).heads] == ["00a1"]
    assert store.runs(owner="a").heads == []
    store.close()


def test_a_head_that_cannot_be_read_is_a_row_of_the_list(place: str, server: PostgresServer) -> None:
    store = PostgresStore(place)
    for run in ("00a1", "00a2"):
        store.create_run(new_run(run))
    server.execute(f"UPDATE \"{name_of(place)}\".heads SET body = 'x' WHERE run = '00a1'")
    assert [(h["run"], "damage" in h) for h in store.runs().heads] == [("00a2", False), ("00a1", True)]
    assert [h["run"] for h in store.active()] == ["00a2"]
    with pytest.raises(CorruptRow):
        store.head("00a1")
    store.delete_run("00a1")
    assert [h["run"] for h in store.runs().heads] == ["00a2"]
    store.close()


def test_nothing_is_left_of_a_run_that_was_deleted(place: str, server: PostgresServer) -> None:
    store = PostgresStore(place)
    store.create_run(new_run("00a1", idempotency_key="k"))
    lease = store.claim("00a1", processes.myself())
    for _ in range(5):
        store.commit(lease, Commit(events=[event("x")], payloads=["p" * 1000]))
    store.commit(lease, Commit(events=[event("run.done")], state="done", release=True))
    assert store.run_bytes("00a1") > 200
    store.delete_run("00a1")
    for table in ("heads", "definitions", "records", "payloads", "rows"):
        assert server.execute(f'SELECT count(*) FROM "{name_of(place)}".{table}') == [(0,)], table
    store.close()


def test_more_threads_than_connections_wait_for_one(place: str) -> None:
    store = PostgresStore(place, connections=2)
    store.create_run(new_run("00a1"))
    with ThreadPoolExecutor(20) as threads:
        assert len(set(threads.map(lambda _: store.head("00a1")["run"], range(200)))) == 1
    store.close()


@pytest.mark.parametrize("url", [
    "u:12/hunter2@h/po", "u:1,2/hunter2@h/po", "u:?schema=hunter2@h/po", "u:a?schema=hunter2@h/po", "u:a@hunter2@h/po",
    "u:a/hunter2@h/po",
])  # fmt: skip
def test_a_password_that_is_not_encoded_is_shown_nowhere(url: str) -> None:
    """P10. What stands before its / may read like a port."""
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        PostgresStore(f"postgresql://{url}", checked=True)
    assert "hunter2" not in str(caught.value.to_json())


@pytest.mark.parametrize("schema", ["100%25", "", "pg_po", "a%00b", "s" * 64, "%C3%A9" * 32])
def test_a_name_that_cannot_be_a_schema_is_refused(schema: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be the schema"):
        PostgresStore(f"postgresql://h/po?schema={schema}", checked=True)


def test_where_a_store_is_can_be_read() -> None:
    url = "postgresql://me:pw@[::1]:5433/d%20b?sslmode=require&schema=s"
    assert PostgresStore(url, checked=True).place == "postgresql://[::1]:5433/d b?schema=s"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/po", "refused"),
        ("postgresql://me:hunter2@/po?host=/nowhere", "No such file"),
    ],
)
def test_a_server_that_is_not_there_is_said_so_without_the_password(url: str, message: str) -> None:
    with pytest.raises(StoreUnusable, match=message) as caught:
        PostgresStore(url, patience=0.5)
    assert "hunter2" not in str(caught.value.to_json())
    with pytest.raises(InvalidInput):
        PostgresStore("postgresql://h/d?no_such_option=1")


def test_after_the_server_was_killed_it_is_used_again(place: str) -> None:
    """What was written is there, and a store that was open finds the new server by itself."""
    with postgres_server() as server:
        store = PostgresStore(server.url("s"), patience=2.0)
        store.create_run(new_run("00a1"))
        server.kill()
        with pytest.raises(StoreUnusable):
            store.request("00a1", [event("x")])
        server.start()
        store.request("00a1", [event("y")])
        assert [e["type"] for e in store.events("00a1")][-1] == "y"
        store.close()


def test_a_commit_that_is_durable_is_no_failure_when_nobody_can_be_notified(
    place: str, server: PostgresServer
) -> None:
    """A full queue of notifications, for example: others see the change when they look."""
    PostgresStore(place).close()
    name, role = name_of(place), f"mute_{name_of(place)}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    server.execute(f'GRANT USAGE ON SCHEMA "{name}" TO {role}')
    server.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA "{name}" TO {role}')
    store = PostgresStore(place.replace("nobody@", f"{role}@"))
    server.execute("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC")
    try:
        store.create_run(new_run("00a1"))
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                store.request("00a1", [event("x")])
    finally:
        server.execute("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC")
    assert store.head("00a1")["n"] == 4
    assert [entry["log_level"] for entry in logs] == []  # said at the first one
    store.request("00a1", [event("x")])
    assert store.head("00a1")["n"] == 5
    store.close()


def test_a_transaction_that_failed_says_what_and_not_that_the_server_is_away(
    place: str, server: PostgresServer
) -> None:
    store = PostgresStore(place)
    store.create_run(new_run("00a1"))
    server.execute(f'ALTER TABLE "{name_of(place)}".heads RENAME TO gone')
    with pytest.raises(StoreUnusable, match="does not exist") as caught:
        store.head("00a1")
    assert "Is the server there" not in caught.value.hint
    store.close()
    with pytest.raises(StoreUnusable) as caught:
        PostgresStore("postgresql://127.0.0.1:1/po", patience=0.5)
    assert "Is the server there" in caught.value.hint


def test_a_list_is_planned_for_its_values(place: str) -> None:
    """A plan for any values reads all runs where few are failed: 50 ms among 100,000."""
    store = PostgresStore(place, connections=1)
    store.create_run(new_run("00a1"))
    for _ in range(12):
        store.runs(states=("failed",))
        store.runs(owner="ada", pipeline="p")
    with store._connection() as connection:
        prepared = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert [statement for (statement,) in prepared if "LIMIT" in statement] == []
    store.close()


@pytest.mark.parametrize(
    "filters",
    [
        {"owner": "old"},
        {"pipeline": "early"},
        {"owner": "ada", "pipeline": "early"},
        {"owner": "old", "states": ("done",)},
        {"states": ("dead",)},
        {"owner": "ada"},
    ],
)
def test_a_list_reads_what_it_shows_however_runs_are_spread(
    filled: tuple[PostgresStore, str], server: PostgresServer, filters: dict[str, Any]
) -> None:
    """P6. The newest runs are ada's, the oldest have another owner and pipeline: nobody's others are gone through."""
    store, name = filled
    asked: list[tuple[str, object]] = []

    def note(shard: Any, query: str, values: object) -> list[Any]:
        asked.append((query, values))
        return []

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "_heads", note)
        store.runs(**filters, limit=50)
    (query, values) = asked[0]
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query.replace("{table}", f'"{name}".heads')
    with psycopg.connect(server.database) as connection:
        plan = connection.execute(explain, values).fetchone()[0][0]["Plan"]  # type: ignore[index,arg-type]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 150, plan


@pytest.fixture(scope="module")
def filled(server: PostgresServer) -> Iterator[tuple[PostgresStore, str]]:
    """50,000 heads, analyzed as autovacuum does it."""
    place = server.url()
    store, name = PostgresStore(place), name_of(place)
    store.create_run(new_run("00a1"))
    server.execute(
        f"""INSERT INTO "{name}".heads SELECT '01' || lpad(n::text, 20, '0'),
            CASE WHEN n < 5000 THEN %s ELSE %s END::bytea, CASE WHEN n < 15000 THEN %s ELSE %s END::bytea,
            'done', (SELECT body FROM "{name}".heads) FROM generate_series(1, 50000) AS n""",
        digest("old"), digest("ada"), digest("early"), digest("p"),
    )  # fmt: skip
    server.execute(f'ANALYZE "{name}".heads')
    yield store, name
    store.close()


@pytest.mark.parametrize(("setting", "used"), [("off", "on"), ("local", "local")])
def test_a_commit_is_durable_whatever_the_role_is_set_to(
    place: str, server: PostgresServer, setting: str, used: str
) -> None:
    """P2: what is weaker than the disk of the server is not used; what is not, stays."""
    server.execute(f"ALTER ROLE CURRENT_USER SET synchronous_commit = {setting}")
    try:
        store = PostgresStore(place)
        with store._connection() as connection:
            assert connection.execute("SHOW synchronous_commit").fetchone() == (used,)
        store.close()
    finally:
        server.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_who_waited_reads_what_was_written_meanwhile_whatever_the_role_is_set_to(
    place: str, server: PostgresServer, level: str
) -> None:
    """P2: a transaction of such a level saw the store as it was before it waited, and failed."""
    server.execute(f"ALTER ROLE CURRENT_USER SET default_transaction_isolation = '{level}'")
    try:
        with closing(PostgresStore(place)) as store, ThreadPoolExecutor(6) as threads:
            store.create_run(new_run("00a1"))
            asked = event("run.cancel_requested")
            offsets = [h["offset"] for h in threads.map(lambda _: store.request("00a1", [asked]), range(40))]
            assert sorted(offsets) == [*range(2, 42)]
    finally:
        server.execute("ALTER ROLE CURRENT_USER RESET default_transaction_isolation")


@pytest.mark.parametrize("client", ["", "LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_text_is_text_whatever_the_database_and_the_environment_say(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, encoding: str, client: str
) -> None:
    """The encoding of a cluster that was made with `--locale=C`: its text came as bytes."""
    if client:
        monkeypatch.setenv("PGCLIENTENCODING", client)
    with closing(PostgresStore(in_database(server, encoding))) as store:
        store.create_run(new_run("00a1"))
        store.put("k", "名é", 1)
        assert store.names("k") == ["名é"]
        assert store.heads(["00a1"])["00a1"] == store.runs(limit=1).heads[0] == store.head("00a1")


def test_a_database_that_cannot_hold_every_name_is_refused(server: PostgresServer) -> None:
    with pytest.raises(StoreUnusable, match="encoding LATIN1"):
        PostgresStore(in_database(server, "LATIN1"))


def in_database(server: PostgresServer, encoding: str) -> str:
    """The URL of a store that nobody has used, in a database of that encoding."""
    name = f"d_{encoding.lower()}"
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", name):
        server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    return server.url().replace("/postgres?", f"/{name}?", 1)
