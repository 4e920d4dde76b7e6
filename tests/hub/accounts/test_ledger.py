"""The ledger: reservations and settlements, durable; a process killed at every commit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import po_jupyter.hub.accounts.ledger as module
from po_jupyter.errors import StoreUnusable
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge, Ledger, in_full
from po_jupyter.hub.accounts.ledger_database import LedgerDatabase
from po_jupyter.hub.accounts.periods import Period
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
DAY = Period("2026-11-27", "2026-11")


def hold(id: str, nano: int | None = 100, *, is_batch: bool = False) -> Reservation:
    return Reservation(id, Demand("alice", ("red",), "openai:m", 10, 20, nano, is_batch), DAY, 5.0)


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    ledger.open()
    yield ledger
    ledger.close()


async def rows(ledger: Ledger) -> list[Charge]:
    return [row.amounts for row in await ledger.change(ledger.totals("0000"))]


async def held_up(ledger: Ledger) -> tuple[asyncio.Task[None], threading.Event]:
    """A change that holds the ledger's thread until the event is set."""
    running, go_on = threading.Event(), threading.Event()

    def work(database: LedgerDatabase) -> None:
        running.set()
        go_on.wait(10)

    task = asyncio.create_task(ledger.change(work))
    await asyncio.to_thread(running.wait)
    return task, go_on


async def test_a_settlement_takes_the_place_of_its_reservation(ledger: Ledger) -> None:
    await ledger.reserve([hold("1")])
    await ledger.reserve([hold("2")])
    ledger.settle(hold("1"), Charge(5, 6, 1, 2, 50))
    ledger.settle(hold("2"), Charge(1, 1, nano=1))
    assert await rows(ledger) == [Charge(6, 7, 1, 2, 51, 0, 0, 2)]
    assert await ledger.change(lambda database: database.execute("SELECT count(*) FROM reservations")) == [(0,)]


async def test_what_a_dead_process_left_counts_in_full_once(tmp_path: Path, ledger: Ledger) -> None:
    await ledger.reserve([hold("1"), hold("2", None)])
    await ledger.reserve([hold("3", is_batch=True)], "openai/batch_1")
    ledger.close()
    for _ in range(2):
        ledger.open()
        assert await rows(ledger) == [Charge(20, 40, nano=100, lost=2, unpriced=1, calls=2)]
        ((batch, left),) = await ledger.change(Ledger.open_batches)
        assert batch == "openai/batch_1" and left.demand.is_batch and left.id == "3"
        ledger.close()
    ledger.open()


async def test_many_changes_are_one_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred calls in flight do not wait for a hundred disks."""
    commits = 0
    commit = module._commit

    def counted(database: LedgerDatabase, changes: list[module._Change]) -> list[module._Change]:
        nonlocal commits
        commits += 1
        return commit(database, changes)

    monkeypatch.setattr(module, "_commit", counted)
    await asyncio.gather(*(ledger.reserve([hold(str(n))]) for n in range(300)))
    assert commits < 30


async def test_changes_of_one_commit_are_few_statements_and_wake_the_loop_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's thread and the loop wait for each other at every statement and every wake-up."""
    await ledger.reserve([hold(f"old{n}") for n in range(100)])
    statements: list[str] = []

    def watch(database: LedgerDatabase) -> None:
        database._connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]  # SQLite's

    await ledger.change(watch)
    first, blocked = await held_up(ledger)
    for n in range(100):
        ledger.settle(hold(f"old{n}"), Charge(1, 2, nano=3))
    loop = asyncio.get_running_loop()
    wakes = 0
    call_soon = loop.call_soon_threadsafe

    def counted(*args: object) -> object:
        nonlocal wakes
        wakes += 1
        return call_soon(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    reserving = asyncio.gather(*(ledger.reserve([hold(f"new{n}")]) for n in range(100)))
    await asyncio.sleep(0)
    blocked.set()
    await asyncio.gather(first, reserving)
    assert wakes == 2  # one for each commit
    assert await rows(ledger) == [Charge(100, 200, nano=300, calls=100)]
    assert sum("INSERT INTO totals" in text for text in statements) == 1
    assert sum("DELETE" in text for text in statements) == 1


async def test_a_change_that_fails_leaves_nothing(ledger: Ledger) -> None:
    await ledger.reserve([hold("1")])
    with pytest.raises(Exception, match="UNIQUE"):
        await ledger.reserve([hold("1")])
    assert await ledger.change(lambda database: database.execute("SELECT count(*) FROM reservations")) == [(1,)]


def test_a_ledger_has_one_gateway(tmp_path: Path) -> None:
    first, second = Ledger(str(tmp_path / "l.sqlite")), Ledger(str(tmp_path / "l.sqlite"))
    first.open()
    with pytest.raises(StoreUnusable, match="another gateway"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_ledger_is_for_its_user_alone(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "l.sqlite"))
    ledger.open()
    ledger.close()
    assert (tmp_path / "l.sqlite").stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        Ledger(str(tmp_path / "no" / "ledger.sqlite")).open()


_PROGRAM = """
import asyncio, sys
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger import Charge, Ledger
from po_jupyter.hub.accounts.periods import Period

async def main():
    ledger = Ledger(sys.argv[1])
    ledger.open()
    for n in range(8):
        demand = Demand("alice", (), "openai:m", 10, 10, 100)
        hold = Reservation(f"{sys.argv[2]}-{n}", demand, Period("2026-11-27", "2026-11"), 0)
        print("reserving", flush=True)
        await ledger.reserve([hold])
        print("sent", flush=True)          # from here on it may be billed, up to what was reserved
        ledger.settle(hold, Charge(5, 5, nano=60))
        print("settled", flush=True)
        await ledger.change(lambda database: None)
        print("billed", flush=True)        # the settlement is durable
    ledger.close()
asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["hub.ledger.commit.before", "hub.ledger.commit.after"])
@pytest.mark.parametrize(
    "k", [2, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 3, 4, 5, 9, 10, 15, 16))]
)
def test_killed_at_every_commit_the_ledger_has_what_may_have_been_billed(
    tmp_path: Path, point: str, k: int
) -> None:
    """A call that went out is settled, or counts in full; one that did not is not there, or counts as lost."""
    place = str(tmp_path / "ledger.sqlite")
    environ = {**os.environ, "PO_TESTING": "1", "PO_CRASHPOINT": f"{point}:{k}", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, place, "a"], env=environ, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    lines = process.stdout.split()
    sent, billed, reserving = (lines.count(word) for word in ("sent", "billed", "reserving"))
    assert process.returncode == -9, process.stderr
    ledger = Ledger(place)
    ledger.open()
    amounts = asyncio.run(rows(ledger))
    ledger.close()
    total = sum(row.nano for row in amounts)
    # Settled ones cost 60; each that was sent and is not known to be settled may cost up to 100.
    assert sent * 60 <= total <= billed * 60 + (reserving - billed) * 100
    assert sum(row.calls for row in amounts) in (sent, reserving)


async def test_amounts_in_full() -> None:
    assert in_full(hold("1").demand) == Charge(10, 20, nano=100, lost=1)
    assert in_full(hold("1", None).demand).unpriced == 1


async def test_a_change_that_cannot_be_made_fails_alone(ledger: Ledger) -> None:
    """Others' changes are in its transaction: theirs are made, and what they used is counted."""
    await ledger.reserve([hold("settled")])
    blocked = threading.Event()
    first = asyncio.create_task(ledger.change(lambda database: blocked.wait(10)))
    await asyncio.sleep(0)
    poison = "\ud800"
    bad = asyncio.create_task(ledger.change(lambda database: database.execute("SELECT ?", (poison,))))
    good = asyncio.create_task(ledger.reserve([hold("good")]))
    await asyncio.sleep(0)
    ledger.settle(hold("settled"), Charge(1, 2, nano=3))
    blocked.set()
    await first
    with pytest.raises(UnicodeEncodeError):
        await bad
    await good
    assert await rows(ledger) == [Charge(1, 2, nano=3)]
    left = await ledger.change(lambda database: database.execute("SELECT id FROM reservations"))
    assert left == [("good",)]


async def test_a_settlement_that_cannot_be_written_now_is_written_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.reserve([hold("1")])
    add = module._ADD
    monkeypatch.setattr(module, "_ADD", "INSERT INTO nowhere VALUES (?)")
    ledger.settle(hold("1"), Charge(1, 2, nano=3))
    await asyncio.sleep(0.2)  # more than a settlement waits for company
    assert await rows(ledger) == []
    monkeypatch.setattr(module, "_ADD", add)
    assert await rows(ledger) in ([], [Charge(1, 2, nano=3)])
    assert await rows(ledger) == [Charge(1, 2, nano=3)]


async def test_a_change_whose_caller_left_stops_nothing(ledger: Ledger) -> None:
    first, blocked = await held_up(ledger)
    waiting = asyncio.create_task(ledger.reserve([hold("left")]))
    await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    blocked.set()
    async with asyncio.timeout(5):
        await ledger.reserve([hold("1")])
    left = await ledger.change(lambda database: database.execute("SELECT id FROM reservations"))
    assert left == [("1",)]


async def test_what_is_settled_twice_counts_once(ledger: Ledger) -> None:
    """A commit whose answer was lost is made again."""
    await ledger.reserve([hold("1"), hold("2")], "openai/batch_1")
    for _ in range(2):
        await ledger.settle_batch([(hold("1"), Charge(1, 2, nano=3)), (hold("2"), Charge(1, 2, nano=3))])
    assert await rows(ledger) == [Charge(2, 4, nano=6, calls=2)]
