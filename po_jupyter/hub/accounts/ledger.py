"""The ledger: reservations and what was used, durable, written by one thread that commits many changes at once.

That thread and the event loop share one interpreter lock, and each statement, each wake-up and each answer is a moment
in which they may wait for one another. So the changes of a transaction are written by few statements, the thread is
woken once for many of them, and the loop hears of them all in one call.

A reservation is on disk before its call goes out, and its settlement takes it away and adds what was used, in one
transaction. So whenever the process dies, a call that went out is in the ledger: settled, or with the most that it may
have cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import structlog

from po_jupyter.errors import StoreUnusable
from po_jupyter.hub.accounts.balances import Demand, Reservation
from po_jupyter.hub.accounts.ledger_database import LedgerDatabase, LedgerTaken, Row, open_database
from po_jupyter.hub.accounts.periods import Period
from po_jupyter.platform.crashpoints import crashpoint

log = structlog.get_logger(__name__)
Result = TypeVar("Result")
_MOST = 500  # changes in one transaction
_PATIENCE = 0.05  # seconds that a settlement waits for a reservation, to be committed with it

_ADD = """INSERT INTO totals
    (day, username, groups, model, calls, input, output, cached, reasoning, nano, lost, unpriced)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, username, groups, model) DO UPDATE SET calls = totals.calls + excluded.calls,
    input = totals.input + excluded.input, output = totals.output + excluded.output,
    cached = totals.cached + excluded.cached, reasoning = totals.reasoning + excluded.reasoning,
    nano = totals.nano + excluded.nano, lost = totals.lost + excluded.lost,
    unpriced = totals.unpriced + excluded.unpriced"""
_RESERVE = """INSERT INTO reservations (id, at, day, username, groups, model, input, output, nano, batch)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_RESERVED = "SELECT id, at, day, username, groups, model, input, output, nano, batch FROM reservations"


class Charge(NamedTuple):
    """What a call used. `nano` are nano-dollars; `lost`: its outcome is not known, so it counts in full."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    nano: int = 0
    lost: int = 0
    unpriced: int = 0
    calls: int = 1

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input + self.output


class TotalRow(NamedTuple):
    """What a user used of a model on a day, in the groups that they were in."""

    day: str
    user: str
    groups: tuple[str, ...]
    model: str
    amounts: Charge


def in_full(demand: Demand) -> Charge:
    """What a call counts as whose outcome is not known."""
    return Charge(
        demand.input_tokens,
        demand.output_tokens,
        nano=demand.nano or 0,
        lost=1,
        unpriced=int(demand.nano is None),
    )


@dataclass(slots=True, eq=False)
class _Change:
    """Rows of reservations, settlements, or other work. `future` is the waiter's; None: nobody waits."""

    reserved: Sequence[Row] = ()
    settled: Sequence[tuple[Reservation, Charge]] = ()
    work: Callable[[LedgerDatabase], object] | None = None
    future: asyncio.Future[object] | None = None


class Ledger:
    """The ledger of one gateway. Its methods may be called from the event loop: they do not wait for the disk there."""

    def __init__(self, place: str, on_taken: Callable[[], object] | None = None) -> None:
        """`place` is the path of a SQLite file or the URL of a PostgreSQL database. `on_taken` is called when another
        gateway took the ledger while its connection was lost: this process is ended, by default."""
        self._place = place
        self._on_taken = on_taken or _end_process
        self._changes: deque[_Change] = deque()
        # Rung when there are changes: True for those that somebody waits for; None ends the thread. The two flags say
        # what it was rung for since the thread looked last.
        self._bell: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._rung: set[bool] = set()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open it, and count what an earlier process left open in full. Blocks. Raises StoreUnusable."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="ledger", daemon=True)
        self._thread.start()
        opened.result()

    def close(self) -> None:
        """Write what is still to be written, and close it. Blocks."""
        if self._thread is not None:
            self._bell.put(None)
            self._thread.join()
            self._thread = None

    # -- calls ------------------------------------------------------------------------------------------
    async def reserve(self, holds: Sequence[Reservation], batch: str = "") -> None:
        """Make reservations durable; `batch` names what will settle them. Raises whatever the database raises."""
        rows = [_row_of(hold, batch) for hold in holds]
        await self._durable(_Change(reserved=rows))

    def settle(self, hold: Reservation, amounts: Charge) -> None:
        """Put what was used in the place of a reservation, soon. When that fails it is tried again with the next
        change; what was never written counts in full at the next start."""
        self._put(_Change(settled=[(hold, amounts)]))

    async def settle_batch(self, settled: Sequence[tuple[Reservation, Charge]]) -> None:
        """The same for the calls of a batch, durable when this returns."""
        await self._durable(_Change(settled=settled))

    # -- anything else ------------------------------------------------------------------------------------
    async def change(self, work: Callable[[LedgerDatabase], Result]) -> Result:
        """Run `work` in the ledger's thread, in a transaction that is durable when this returns."""
        return cast(Result, await self._durable(_Change(work=work)))

    def totals(self, since: str, until: str = "9999") -> Callable[[LedgerDatabase], list[TotalRow]]:
        """Work for `change`: what was used from one day to another, both included."""

        def read(database: LedgerDatabase) -> list[TotalRow]:
            rows = database.execute(
                "SELECT day, username, groups, model, input, output, cached, reasoning, nano, lost, unpriced, calls "
                "FROM totals WHERE day >= ? AND day <= ? ORDER BY day, username, model", (since, until),
            )  # fmt: skip
            return [
                TotalRow(str(day), str(user), tuple(json.loads(str(groups))), str(model), _amounts(counts))
                for day, user, groups, model, *counts in rows
            ]

        return read

    @staticmethod
    def open_batches(database: LedgerDatabase) -> list[tuple[str, Reservation]]:
        """Work for `change`: the reservations of batches, each with what will settle it."""
        rows = database.execute(f"{_RESERVED} WHERE batch <> ''")
        return [(str(row[9]), _hold_of(row)) for row in rows]

    # -- inside -----------------------------------------------------------------------------------------
    async def _durable(self, change: _Change) -> object:
        change.future = asyncio.get_running_loop().create_future()
        self._put(change)
        return await change.future

    def _put(self, change: _Change) -> None:
        self._changes.append(change)
        is_urgent = change.future is not None
        if is_urgent not in self._rung:
            self._rung.add(is_urgent)
            self._bell.put(is_urgent)

    def _run(self, opened: Future[None]) -> None:
        try:
            database = open_database(self._place)
            database.begin()
            _count_lost(database)
            database.commit()
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        last = False
        left: list[_Change] = []
        while not last:
            changes, last = self._gathered()
            left, taken = _commit(database, [*changes, *left])
            if taken:
                self._on_taken()
        database.close()

    def _gathered(self) -> tuple[list[_Change], bool]:
        """The changes that wait, and whether the ledger is to be closed.

        Somebody waits for a reservation. Settlements alone are committed a moment later, with the next one.
        """
        ring = self._bell.get()
        until = time.monotonic() + _PATIENCE
        while ring is False:
            try:
                ring = self._bell.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
        self._rung.clear()  # before the changes are taken: one that comes from here on rings again
        most = len(self._changes) if ring is None else _MOST
        changes: list[_Change] = []
        with suppress(IndexError):
            while len(changes) < most:
                changes.append(self._changes.popleft())
        if len(changes) == _MOST and ring is not None:
            self._bell.put(True)  # there may be more
        return changes, ring is None


def _end_process() -> None:
    """End as a stop in order does: what is known of balances here is old, and the next start reads them."""
    os.kill(os.getpid(), signal.SIGTERM)


def _commit(database: LedgerDatabase, changes: list[_Change]) -> tuple[list[_Change], bool]:
    """Make changes in one transaction; where one of them fails, each in its own. Those that are left over: settlements
    that could not be written now; and whether another gateway took the ledger."""
    changes = [change for change in changes if change.future is None or not change.future.cancelled()]
    if not changes or _transaction(database, changes) is None:
        return [], False
    left: list[_Change] = []
    down: Exception | None = None
    for change in changes:
        error = down or _transaction(database, [change])
        if error is None:
            continue
        if isinstance(error, StoreUnusable):
            down = error  # there is no database at all: it is not asked again for each
        if change.future is None:
            left.append(change)
        else:
            _tell([(change.future, error)])
    return left, isinstance(down, LedgerTaken)


def _transaction(database: LedgerDatabase, changes: list[_Change]) -> Exception | None:
    """Make changes in a transaction; why nothing of it was made."""
    try:
        database.begin()
        results = _make(database, changes)
        crashpoint("hub.ledger.commit.before")
        database.commit()
    except Exception as error:
        log.error("the ledger cannot be written", error=f"{type(error).__name__}: {error}"[:300])
        try:
            database.rollback()
        except Exception as second:
            log.error("the ledger cannot be rolled back", error=type(second).__name__)
        return error
    crashpoint("hub.ledger.commit.after")
    _tell(
        (change.future, result)
        for change, result in zip(changes, results, strict=True)
        if change.future is not None
    )
    return None


def _make(database: LedgerDatabase, changes: list[_Change]) -> list[object]:
    """Make changes: reservations, settlements, then other work in its order; their results."""
    if reserved := [row for change in changes for row in change.reserved]:
        database.execute_many(_RESERVE, reserved)
    if settled := [each for change in changes for each in change.settled]:
        _settle(database, settled)
    return [None if change.work is None else change.work(database) for change in changes]


def _tell(outcomes: Iterable[tuple[asyncio.Future[object], object]]) -> None:
    """Tell those who wait, in their loop: each loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[object], object]]] = {}
    for future, outcome in outcomes:
        loops.setdefault(future.get_loop(), []).append((future, outcome))
    for loop, outcomes_there in loops.items():
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, outcomes_there)


def _resolve(outcomes: list[tuple[asyncio.Future[object], object]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _settle(database: LedgerDatabase, settled: Sequence[tuple[Reservation, Charge]]) -> None:
    """Each reservation that is there is taken away, and what it used is added. One that is not was settled: by a
    commit whose answer was lost."""
    charges = {hold.id: (hold, amounts) for hold, amounts in settled}
    ids = list(charges)
    sums: dict[Row, list[int]] = {}
    for start in range(0, len(ids), _MOST):
        some = ids[start : start + _MOST]
        marks = ", ".join("?" * len(some))
        take = f"DELETE FROM reservations WHERE id IN ({marks}) RETURNING id"  # noqa: S608 - question marks only
        for (id,) in database.execute(take, some):
            hold, amounts = charges[str(id)]
            demand = hold.demand
            key: Row = (hold.period.day, demand.user, json.dumps(demand.groups), demand.model)
            counts = (
                amounts.calls, amounts.input, amounts.output, amounts.cached, amounts.reasoning, amounts.nano,
                amounts.lost, amounts.unpriced,
            )  # fmt: skip
            so_far = sums.get(key)
            sums[key] = [*counts] if so_far is None else [a + b for a, b in zip(so_far, counts, strict=True)]
    for key, total in sums.items():
        database.execute(_ADD, (*key, *total))


def _count_lost(database: LedgerDatabase) -> None:
    """Count the calls of a process that died in full: nobody knows what became of them."""
    lost = [_hold_of(row) for row in database.execute(f"{_RESERVED} WHERE batch = ''")]
    if lost:
        log.warning("calls of an earlier process count in full", calls=len(lost))
        _settle(database, [(hold, in_full(hold.demand)) for hold in lost])


def _row_of(hold: Reservation, batch: str) -> Row:
    demand = hold.demand
    return (
        hold.id, hold.at, hold.period.day, demand.user, json.dumps(demand.groups), demand.model,
        demand.input_tokens, demand.output_tokens, demand.nano, batch,
    )  # fmt: skip


def _hold_of(row: Row) -> Reservation:
    id, at, day, user, groups, model, input, output, nano, batch = row
    demand = Demand(
        str(user), tuple(json.loads(str(groups))), str(model), int(input or 0), int(output or 0),
        None if nano is None else int(nano), bool(batch),
    )  # fmt: skip
    return Reservation(str(id), demand, Period(str(day), str(day)[:7]), float(at or 0))


def _amounts(counts: Sequence[object]) -> Charge:
    return Charge(*(int(str(count)) for count in counts))
