"""The ledger in PostgreSQL, as in SQLite."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge, Ledger
from po_jupyter.hub.accounts.ledger_database import open_database
from po_jupyter.hub.accounts.periods import Period
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


def hold(id: str, *, is_batch: bool = False) -> Reservation:
    demand = Demand("alice", ("red",), "openai:m", 10, 20, 100, is_batch)
    return Reservation(id, demand, Period("2026-11-27", "2026-11"), 5.0)


async def test_it_counts_as_the_file_does(postgres: PostgresServer) -> None:
    url = postgres.url()
    with opened(url) as ledger:
        await ledger.reserve([hold("1"), hold("2"), hold("3")])
        await ledger.reserve([hold("4", is_batch=True)], "openai/b")
        ledger.settle(hold("1"), Charge(1, 2, nano=7))
        ledger.settle(hold("2"), Charge(1, 2, nano=7))
    for _ in range(2):
        with opened(url) as ledger:
            (row,) = await ledger.change(ledger.totals("2026-11-01"))
            assert row.groups == ("red",) and row.amounts == Charge(12, 24, nano=114, lost=1, calls=3)
            ((name, left),) = await ledger.change(Ledger.open_batches)
            assert (name, left.id, left.demand.is_batch) == ("openai/b", "4", True)


async def test_a_ledger_has_one_gateway(postgres: PostgresServer) -> None:
    url = postgres.url()
    with opened(url):
        with pytest.raises(StoreUnusable, match="another gateway"):
            open_database(url)
        open_database(postgres.url()).close()  # another one
    open_database(url).close()


async def test_a_change_that_fails_leaves_nothing_and_the_next_is_made(postgres: PostgresServer) -> None:
    with opened(postgres.url()) as ledger:
        await ledger.reserve([hold("10")])
        with pytest.raises(Exception, match="duplicate"):
            await ledger.reserve([hold("11"), hold("10")])
        await ledger.reserve([hold("11")])
        rows = await ledger.change(lambda database: database.execute("SELECT id FROM reservations ORDER BY id"))
        assert rows == [("10",), ("11",)]


def test_a_password_is_in_no_error() -> None:
    with pytest.raises(StoreUnusable) as refused:
        open_database("postgresql://user:topsecret@127.0.0.1:1/none")
    assert "topsecret" not in str(refused.value)


def test_a_gateway_whose_ledger_another_one_took_meanwhile_ends(postgres: PostgresServer) -> None:
    """Its balances are old: it must not go on with them (it did, before)."""
    url, taken = postgres.url(), threading.Event()
    ledger = Ledger(url, taken.set)
    ledger.open()
    try:
        ledger.settle(hold("0"), Charge())
        for gone in (False, True):
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
            with opened_soon(url) if gone else nullcontext():
                pass
            with suppress(Exception):
                asyncio.run(ledger.change(lambda database: database.execute("SELECT 1")))
            with suppress(Exception):
                asyncio.run(ledger.change(lambda database: database.execute("SELECT 1")))
            assert taken.is_set() == gone  # a lost connection alone is no harm
    finally:
        ledger.close()


@contextmanager
def opened_soon(url: str) -> Iterator[Ledger]:
    """Opened once the lock is free: the end of a connection takes a moment."""
    until = time.monotonic() + 20
    while True:
        try:
            with opened(url) as ledger:
                yield ledger
            return
        except StoreUnusable:
            assert time.monotonic() < until
            time.sleep(0.05)
