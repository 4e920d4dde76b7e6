"""A shard over tables: each key is a row of one table, and a transaction reads what it wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import encode, pack
from po_jupyter.store.postgres import schema
from po_jupyter.store.postgres.shard import PostgresShard
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration

HEAD: dict[str, Any] = {
    "run": "a",
    "owner": "me",
    "pipeline": "p",
    "state": "pending",
    "priority": 0,
    "holder": None,
}
VALUES: dict[str, Any] = {
    "head/a": HEAD, "def/a": {"definition": {}}, "c/a/00000001": {"at": "now"}, "c/a/00000002": {"at": "later"},
    "p/a/00000001": [[1], 5], "d/pipeline/x/y": {"name": "x"}, "names/pipeline": ["x/y"], "i/abc": {"run": "a"},
}  # fmt: skip


@pytest.fixture
def connection(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def shard(connection: psycopg.Connection[Any], place: str) -> PostgresShard:
    name = place.rpartition("schema=")[2]
    schema.migrate(connection, name, "here")
    return PostgresShard(connection, name, "here")


@pytest.mark.parametrize("sent", [False, True])
def test_what_was_written_is_read_and_erased(shard: PostgresShard, sent: bool) -> None:
    for key, value in VALUES.items():
        assert shard.read(key) is None
        shard.write(key, value)
    if sent:
        shard.flush()
        shard._changed.clear()
    assert {key: shard.read(key) for key in VALUES} == VALUES
    for key in VALUES:
        assert shard.erase(key)
        assert not shard.erase(key)
        assert shard.read(key) is None
    shard.flush()
    shard._changed.clear()
    assert all(shard.read(key) is None for key in VALUES)


def test_records_are_read_together_and_their_sizes_counted(shard: PostgresShard) -> None:
    for key, value in VALUES.items():
        shard.write(key, value)
    shard.flush()
    keys = [f"c/a/{n:08d}" for n in (2, 3, 1)]
    assert shard.read_many(keys) == [{"at": "later"}, None, {"at": "now"}]
    assert shard.read_many([]) == []
    of_run = [value for key, value in VALUES.items() if key.split("/")[0] in ("head", "def", "c", "p")]
    assert shard.measure("a") == sum(len(pack(encode(value))) for value in of_run)
    assert shard.measure("b") == 0
    shard.erase_records("a", None)
    shard._changed.clear()
    assert shard.read_many(keys) == [None] * 3


def test_a_record_is_never_written_over(shard: PostgresShard) -> None:
    shard.write("c/a/00000001", {"at": "now"})
    shard.flush()
    with pytest.raises(psycopg.errors.UniqueViolation):
        shard.flush()


def test_what_somebody_else_wrote_is_said_with_its_key(
    shard: PostgresShard, connection: psycopg.Connection[Any], place: str
) -> None:
    name = place.rpartition("schema=")[2]
    for key, body in (("d/k/a", b"x"), ("d/k/b", b"j{"), ("d/k/c", b"z123")):
        connection.execute(f'INSERT INTO "{name}".rows VALUES (%s, %s)', (key, body))
        with pytest.raises(CorruptRow, match=key):
            shard.read(key)
