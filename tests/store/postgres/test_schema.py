"""The tables of a store in PostgreSQL: made once, by who may, and never those of a newer version."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.postgres import schema
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.conformance.store import new_run
from tests.support.postgres import PostgresServer

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
    with pytest.raises(StoreUnusable, match="permission denied"):
        PostgresStore(server.url().replace("nobody@", f"{role}@"))
