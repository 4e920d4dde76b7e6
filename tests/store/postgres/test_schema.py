"""The tables of a store in PostgreSQL: made once, by who may, and never those of a newer version."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.postgres import schema
from po_jupyter.store.postgres import shard as shard_module
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.conformance.store import new_run
from tests.support.postgres import HEAD_BEFORE, PostgresServer

pytestmark = pytest.mark.integration


def name_of(place: str) -> str:
    return place.rpartition("schema=")[2]


def test_tables_are_made_once_whoever_comes_at_once(place: str, server: PostgresServer) -> None:
    barrier = threading.Barrier(8)

    def open_at_once(_: int) -> None:
        barrier.wait()
        PostgresStore(place).close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(open_at_once, range(8)))
    assert server.execute(f'SELECT version FROM "{name_of(place)}".format') == [(schema.VERSION,)]


def test_tables_of_a_newer_version_are_left_alone(place: str, server: PostgresServer) -> None:
    PostgresStore(place).close()
    server.execute(f'UPDATE "{name_of(place)}".format SET version = 99')
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        PostgresStore(place)


def test_a_role_that_may_not_make_tables_uses_those_that_are_there(place: str, server: PostgresServer) -> None:
    PostgresStore(place).close()
    name, role = name_of(place), f"role_{name_of(place)}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    server.execute(f'GRANT USAGE ON SCHEMA "{name}" TO {role}')
    server.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA "{name}" TO {role}')
    store = PostgresStore(place.replace("nobody@", f"{role}@"))
    store.create_run(new_run("00a1"))
    store.close()
    with pytest.raises(StoreUnusable, match="may not change that: permission denied"):
        PostgresStore(server.url().replace("nobody@", f"{role}@"))


def test_a_role_whose_transactions_only_read_is_told(place: str, server: PostgresServer) -> None:
    PostgresStore(place).close()
    role, url = role_of(server, place)
    server.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA "{name_of(place)}" TO {role}')
    server.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnusable, match="can only be read: default_transaction_read_only is on"):
        PostgresStore.look(url)


def role_of(server: PostgresServer, place: str) -> tuple[str, str]:
    """A role that may make nothing, and the URL of the store as it."""
    role = f"role_{name_of(place)}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    return role, place.replace("nobody@", f"{role}@")


def test_what_a_low_role_lacks_is_said_as_sql_and_running_that_is_enough(
    place: str, server: PostgresServer
) -> None:
    """A DBA runs what `--check` prints, and nothing else."""
    _, low = role_of(server, place)
    where, state = PostgresStore.look(low)
    assert where.startswith("postgresql://")
    assert (state.version, state.may_migrate, state.is_ready) == (None, False, False)
    with pytest.raises(StoreUnusable, match="no tables yet") as caught:
        PostgresStore(low)
    assert "po store migrate --check" in caught.value.hint
    for statement in [*state.statements, *state.grants]:
        server.execute(statement)
    state = PostgresStore.look(low)[1]
    assert (state.version, state.is_ready, state.statements, state.grants) == (schema.VERSION, True, [], [])
    store = PostgresStore(low)
    store.create_run(new_run("00a1", idempotency_key="k"))
    store.request("00a1", [], state="done")
    store.delete_run("00a1")
    store.close()


def test_rights_that_are_missing_are_said_one_by_one(place: str, server: PostgresServer) -> None:
    PostgresStore(place).close()
    role, low = role_of(server, place)
    name = name_of(place)
    assert PostgresStore.look(low)[1].grants[0] == f'GRANT USAGE ON SCHEMA "{name}" TO "{role}"'
    for statement in PostgresStore.look(low)[1].grants:
        server.execute(statement)
    server.execute(f'REVOKE DELETE ON "{name}".payloads FROM {role}')
    state = PostgresStore.look(low)[1]
    assert state.grants == [f'GRANT SELECT, INSERT, UPDATE, DELETE ON "{name}"."payloads" TO "{role}"']
    assert not state.is_ready


def test_an_older_schema_is_brought_up_to_date_by_who_may_and_waits_for_it_otherwise(
    place: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    PostgresStore(place).close()
    _, low = role_of(server, place)
    for statement in PostgresStore.look(low)[1].grants:
        server.execute(statement)
    now, later = schema.VERSION, schema.VERSION + 1
    step = ("CREATE TABLE {schema}.more (x integer)", f"UPDATE {{schema}}.format SET version = {later}")
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, step))
    monkeypatch.setattr(schema, "VERSION", later)
    state = PostgresStore.look(low)[1]
    assert (state.version, state.may_migrate) == (now, False)
    assert state.statements[0] == f'CREATE TABLE "{name_of(place)}".more (x integer)'
    with pytest.raises(StoreUnusable, match=f"has format {now}, this program needs {later}"):
        PostgresStore(low)
    assert PostgresStore.look(place)[1].may_migrate
    PostgresStore(place).close()
    PostgresStore(low).close()
    monkeypatch.undo()
    with pytest.raises(StoreUnusable, match=f"format is {later}, this one knows {now}") as caught:
        PostgresStore.look(place)
    assert caught.value.details == {"format": later, "known": now}


def test_a_store_of_the_first_format_becomes_today_s_with_what_is_in_it(
    place: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(schema, "_STEPS", schema._STEPS[:1])
        before.setattr(schema, "VERSION", 1)
        before.setattr(shard_module, "_UPSERT_HEAD", HEAD_BEFORE)
        store = PostgresStore(place)
        store.create_run(new_run("00a1"))
        store.close()
    store = PostgresStore(place)
    assert [head["run"] for head in store.runs(owner="ada").heads] == ["00a1"]
    assert server.execute(f'SELECT version FROM "{name_of(place)}".format') == [(schema.VERSION,)]
    store.close()


def test_a_migration_beside_a_writer_waits_for_it_and_neither_for_the_other(
    place: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit reads its head, later writes it; the migration comes in between."""
    with monkeypatch.context() as before:
        before.setattr(schema, "_STEPS", schema._STEPS[:1])
        before.setattr(schema, "VERSION", 1)
        store = PostgresStore(place)
    monkeypatch.setattr(shard_module, "_UPSERT_HEAD", HEAD_BEFORE)
    store.create_run(new_run("00a1"))
    has_read, may_write = threading.Event(), threading.Event()

    def work(shard: Shard) -> None:
        head = shard.read("head/00a1")
        has_read.set()
        assert may_write.wait(20)
        shard.write("head/00a1", {**head, "name": "written"})

    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    with ThreadPoolExecutor(2) as threads:
        written = threads.submit(store._run, "00a1", work, write=True)
        assert has_read.wait(20)
        migrated = threads.submit(PostgresStore, place)
        until = time.monotonic() + 20
        while server.execute(waiting, f'"{name_of(place)}".heads') == [(0,)] and time.monotonic() < until:
            time.sleep(0.01)
        may_write.set()
        written.result(timeout=20)
        migrated.result(timeout=20).close()
    assert store.head("00a1")["name"] == "written"
    store.close()
