"""A run's share of its owner's day: a quota lease, taken from `daily_ledger` in the store and used from memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum, auto

import structlog

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets.daily_ledger import LedgerDocument, LedgerEntry
from po_jupyter.engine.budgets.daily_opening import open_ledger
from po_jupyter.engine.budgets.limits import WARN_AT, BudgetLimits
from po_jupyter.engine.replay.spent_from_log import (
    ZERO,
    Amount,
    LostCalls,
    dollars,
    lost_on_day,
    spent_on_day,
)
from po_jupyter.errors import BudgetExceeded, Conflict, NotFound, StoreError
from po_jupyter.store import documents
from po_jupyter.store.protocol import Store

_log = structlog.get_logger(__name__)
_CALLS_AHEAD = 32  # calls that a share covers beyond those in flight
_LARGEST_PART = 20  # and at most one part in so many of the day's limit
_REPORT = 2.0  # s between two reports of what was used
_AGAIN = 1.0  # s until a share that others hold is asked for again


class _Answer(Enum):
    """The answer of the ledger to a request for room."""

    FINAL = auto()  # there is room now, or `refused` is set
    RESERVED_BY_OTHERS = auto()
    RESERVED_BY_OWN_CALLS = auto()


class DailyShare:
    """The amount that this run may use today. `fits`, `hold` and `settle` never wait; `request` gets more room.

    `ttl` is how long a share holds without a report, in seconds: longer than a call may take. `refused` is the error
    once there will be no room any more. `warn(used, limits)` is called when 80 % of the day are used.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        run: str,
        limits: BudgetLimits,
        *,
        ttl: float,
        warn: Callable[[Amount, BudgetLimits], None] = lambda used, limits: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """No share yet: the first `request` or `acquire` takes one."""
        self.limits = limits
        self.refused: BudgetExceeded | None = None
        self._warn = warn
        self._store, self._owner, self._run = store, owner, run
        self._ttl, self._clock = ttl, clock
        self._day = ""
        self._entry = LedgerEntry()  # as the ledger has it
        self._used = ZERO
        self._reserved = ZERO
        self._holds = 0
        self._ahead = ZERO
        self._active = False  # since the last report
        self._warned = False
        self._requesting: asyncio.Task[None] | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- from memory ------------------------------------------------------------------------------
    def fits(self, worst: Amount) -> bool:
        """Whether the share, if there is one and it still holds, has room for a call."""
        if self._day != self._today() or self._entry.until - self._ttl / 4 <= self._clock():
            return False
        total, room = self._used.plus(self._reserved).plus(worst), self._entry.whole
        return (self.limits.usd is None or total.usd <= room.usd + 1e-12) and (
            self.limits.tokens is None or total.tokens <= room.tokens
        )

    def hold(self, worst: Amount) -> str:
        """Set an amount aside; the day of the hold, for `settle`."""
        self._reserved = self._reserved.plus(worst)
        self._holds += 1
        self._active = True
        return self._day

    def settle(self, day: str, worst: Amount, used: Amount) -> None:
        """End a hold of `worst` and count `used`. A hold of yesterday was counted when the day ended."""
        if day != self._day:
            return
        self._holds -= 1
        self._reserved = self._reserved.minus(worst) if self._holds else ZERO
        self._used = self._used.plus(used)
        self._active = True

    def adjust(self, day: str, freed: Amount, used: Amount) -> None:
        """Take `freed` off a hold (a negative amount adds to it) and count `used`; the hold stays."""
        if day != self._day:
            return
        self._reserved = self._reserved.minus(freed)
        self._used = self._used.plus(used)
        self._active = True

    # -- from the ledger --------------------------------------------------------------------------
    async def acquire(self, worst: Amount) -> bool:
        """Get room for that much from the ledger; whether there is some now."""
        try:
            answer = await self._extend(worst)
        except StoreError:
            return False
        return answer is _Answer.FINAL and self.refused is None and self.fits(worst)

    def request(self, worst: Amount, *, on_answer: Callable[[], None], on_wait: Callable[[], None]) -> None:
        """Get room for a call of that size in the background; nothing while an earlier request is on its way.

        `on_answer` is called once there is room or `refused` is set, `on_wait` while other runs hold the room.
        """
        if self._requesting is None or self._requesting.done():
            self._requesting = asyncio.get_running_loop().create_task(
                self._wait_for_room(worst, on_answer, on_wait)
            )

    async def _wait_for_room(
        self, worst: Amount, on_answer: Callable[[], None], on_wait: Callable[[], None]
    ) -> None:
        while True:
            try:
                answer = await self._extend(worst)
            except StoreError as error:
                self.refused = BudgetExceeded(f"the budget of the day cannot be looked up: {error.message}")
                answer = _Answer.FINAL
            if answer is _Answer.RESERVED_BY_OTHERS:
                if not self._holds:
                    on_wait()
                await asyncio.sleep(_AGAIN)
            elif answer is _Answer.FINAL or self._holds:
                # Now, and before anybody is woken: the next call that waits may request again.
                self._requesting = None
                if answer is _Answer.FINAL:
                    on_answer()
                return

    async def _extend(self, worst: Amount) -> _Answer:
        """Ask the ledger for room for a call, and for the calls after it."""
        async with self._lock:
            today = self._today()
            if self._day != today:
                await self._leave()
                await asyncio.to_thread(self._open_day, today)
            self._ahead = self._room_ahead(worst)
            used, room = self._used, self._entry.whole.minus(self._used)
            for ahead in (self._ahead.plus(worst), worst):
                reserved = self._reserved.plus(ahead)
                # What is granted already may be reserved from meanwhile: never less than that.
                reserved = Amount(max(reserved.usd, room.usd), max(reserved.tokens, room.tokens))
                granted, document = await asyncio.to_thread(self._write, used, reserved)
                if granted:
                    self._start_reporting()
                    self._warn_once(document)
                    return _Answer.FINAL
            self._warn_once(document)
            others_amount, others_reserve = ledger.share_of_others(document, self._run)
            if others_reserve:
                return _Answer.RESERVED_BY_OTHERS
            if self._holds:
                return _Answer.RESERVED_BY_OWN_CALLS
            lost = await asyncio.to_thread(lost_on_day, self._store, self._owner, today)
            self.refused = self._exceeded(others_amount.plus(self._used), worst, lost)
            return _Answer.FINAL

    def _room_ahead(self, worst: Amount) -> Amount:
        usd = worst.usd * _CALLS_AHEAD
        tokens = worst.tokens * _CALLS_AHEAD
        if self.limits.usd is not None:
            usd = min(usd, self.limits.usd / _LARGEST_PART)
        if self.limits.tokens is not None:
            tokens = min(tokens, self.limits.tokens // _LARGEST_PART)
        return Amount(usd, tokens)

    def _open_day(self, day: str) -> None:
        """Begin a day with what the log has of it, less what the ledger has already.

        What an earlier worker of the run, which is dead, held is given back: others would wait for it, and it for what
        a dead worker of theirs held.
        """
        entry = ledger.entry_of(open_ledger(self._store, self._owner, day), self._run)
        spent = spent_on_day(self._store, self._run, day)
        base = spent if entry is None else entry.base
        self._used, self._reserved, self._holds = spent.minus(base), ZERO, 0
        mine = self._entry = LedgerEntry(self._used, base=base)
        if entry is not None and entry.reserved != ZERO:
            name = ledger.name_of(self._owner, day)
            with suppress(Conflict):
                documents.update(
                    self._store,
                    ledger.KIND,
                    name,
                    lambda document: ledger.with_entry(document, self._run, mine),
                )
        self._day, self._warned = day, False

    def _write(self, used: Amount, reserved: Amount) -> tuple[bool, LedgerDocument | None]:
        """Report what is used and reserved. Gives (granted or not, the document as it is then). Blocks."""
        granted: LedgerEntry | None = None
        latest: LedgerDocument | None = None

        def change(document: LedgerDocument | None) -> LedgerDocument | None:
            nonlocal granted, latest
            now = self._clock()
            latest = self._with_overdue_settled(document, now)
            entry = LedgerEntry(used, reserved, now + self._ttl, self._entry.base)
            if not ledger.allowed(latest, self._run, entry, self.limits):
                granted = None
                return document
            granted, latest = entry, ledger.with_entry(latest, self._run, entry)
            return latest

        try:
            documents.update(self._store, ledger.KIND, ledger.name_of(self._owner, self._day), change)
        except Conflict:
            return False, latest
        if granted is not None:
            self._entry = granted
        return granted is not None, latest

    def _with_overdue_settled(self, document: LedgerDocument | None, now: float) -> LedgerDocument | None:
        """The document with the shares that ran out replaced by what the logs of their runs have as used."""
        for run, entry in ledger.overdue(document, now, except_run=self._run).items():
            try:
                used = spent_on_day(self._store, run, self._day).minus(entry.base)
            except NotFound:  # deleted: nobody knows, so all of it counts
                used = entry.whole
            document = ledger.with_entry(document, run, LedgerEntry(used, ZERO, 0.0, entry.base))
        return document

    # -- reports ----------------------------------------------------------------------------------
    def _start_reporting(self) -> None:
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.get_running_loop().create_task(self._report())

    async def _report(self) -> None:
        """Report what was used every few seconds, renew what is in use, give back what is not."""
        while self._entry.reserved != ZERO or self._holds:
            await asyncio.sleep(_REPORT)
            async with self._lock:
                used = self._used
                room = self._entry.whole.minus(used)
                ahead = self._ahead if self._active else ZERO
                reserved = self._reserved.plus(ahead)
                reserved = Amount(min(reserved.usd, room.usd), min(reserved.tokens, room.tokens))
                self._active = False
                # Before it is written: what is given back must not be reserved from meanwhile.
                self._entry = self._entry._replace(used=used, reserved=reserved)
                try:
                    _, document = await asyncio.to_thread(self._write, used, reserved)
                except StoreError as error:
                    _log.warning("the ledger of the day cannot be written", error=error.message)
                    continue
                self._warn_once(document)

    def _warn_once(self, document: LedgerDocument | None) -> None:
        used = ledger.used(document)
        if not self._warned and self.limits.fraction(used) >= WARN_AT:
            self._warned = True
            self._warn(used, self.limits)

    async def _leave(self) -> None:
        """Give the share back; the worst case of calls in flight counts as used."""
        if not self._day:
            return
        used = self._used.plus(self._reserved)

        def change(document: LedgerDocument | None) -> LedgerDocument | None:
            if ledger.entry_of(document, self._run) is None:
                return document
            return ledger.without(document, self._run, used)

        name = ledger.name_of(self._owner, self._day)
        with suppress(Conflict):
            await asyncio.to_thread(documents.update, self._store, ledger.KIND, name, change)
        self._day = ""

    async def aclose(self) -> None:
        """Give the share back. What is not given back (a crash) runs out by itself."""
        for task in (self._requesting, self._reporting):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        try:
            await self._leave()
        except StoreError as error:
            _log.warning("the ledger of the day cannot be written", error=error.message)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")

    def _exceeded(self, total: Amount, worst: Amount, lost: LostCalls) -> BudgetExceeded:
        limits, runs = self.limits, f"all of {self._owner}'s runs"
        known = total.minus(lost.amount)
        if limits.usd is not None and total.usd + worst.usd > limits.usd:
            sentence = (
                f"{dollars(limits.usd)} a day is spent: {dollars(known.usd)} used since 00:00 UTC by {runs}, "
                f"{lost.clause(dollars(lost.amount.usd))}and the next call could cost {dollars(worst.usd)}"
            )
        else:
            sentence = (
                f"{limits.tokens:,} tokens a day is spent: {known.tokens:,} used since 00:00 UTC by {runs}, "
                f"{lost.clause(f'{lost.amount.tokens:,}')}and the next call could take {worst.tokens:,}"
            )
        return BudgetExceeded(
            f"the budget of {sentence}",
            hint="What is finished is kept. Resume tomorrow (the day ends at 00:00 UTC), or with a larger "
            "setting daily_usd or daily_tokens.",
            details={
                "scope": "day",
                "used": total.to_json(),
                "reserved": {**lost.amount.to_json(), "calls": lost.calls},
                "budget": limits.to_json(),
            },
        )
