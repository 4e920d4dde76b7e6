"""A run's share of its owner's day: taken from the ledger in the store, used from memory (see
`engine.ledger`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from po_jupyter.engine.budgets import daily_ledger as ledger
from po_jupyter.engine.budgets.daily_ledger import Entry, Limits
from po_jupyter.engine.replay.spent_from_log import Amount, dollars, spent_on
from po_jupyter.errors import BudgetExceeded, NotFound, StoreError
from po_jupyter.store.protocol import Store

_log = structlog.get_logger("po_jupyter.engine")
_AHEAD = 32  # calls that a share covers beyond those in flight
_PART = 20  # and at most one part in so many of the day's limit
_TELL = 2.0  # s between two words about what was used
_AGAIN = 1.0  # s until a share that others hold is asked for again
_TRIES = 50  # of a swap: each lost one means that somebody else got through


class DayShare:
    """What this run may use today. `fits`, `hold` and `settle` never wait; `ask` gets more and then calls
    `wake`.

    `ttl` is how long a share holds without a word from here, in seconds: longer than a call may take.
    `warn(used, limits)` is told when 80 % of the day are used.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        run: str,
        limits: Limits,
        *,
        ttl: float,
        warn: Callable[[Amount, Limits], None] = lambda used, limits: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self.refused: BudgetExceeded | None = None
        self.wake: Callable[[], None] = lambda: None
        self._warn = warn
        self._store, self._owner, self._run = store, owner, run
        self._ttl, self._clock = ttl, clock
        self._day = ""
        self._entry = Entry()  # as the ledger has it
        self._used = Amount()
        self._held = Amount()
        self._open = 0
        self._ahead = Amount()
        self._active = False
        self._warned = False
        self._asking: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- from memory ------------------------------------------------------------------------------
    def fits(self, worst: Amount) -> bool:
        """Whether the share, if there is one and it still holds, has room for a call."""
        if self._day != self._today() or self._entry.until - self._ttl / 4 <= self._clock():
            return False
        wanted, room = self._used.plus(self._held).plus(worst), self._entry.whole
        return (self.limits.usd is None or wanted.usd <= room.usd + 1e-12) and (
            self.limits.tokens is None or wanted.tokens <= room.tokens
        )

    def hold(self, worst: Amount) -> str:
        """Set it aside; the day that it is held on, for `settle`."""
        self._held = self._held.plus(worst)
        self._open += 1
        self._active = True
        return self._day

    def settle(self, day: str, worst: Amount, used: Amount) -> None:
        """The call is over. One that was held yesterday was counted when the day ended."""
        if day != self._day:
            return
        self._open -= 1
        self._held = self._held.minus(worst) if self._open else Amount()
        self._used = self._used.plus(used)
        self._active = True

    def shift(self, day: str, worst: Amount, used: Amount) -> None:
        """Of what is set aside for a batch, `worst` is free (below nothing: more is set aside)."""
        if day != self._day:
            return
        held = self._held
        self._held = Amount(max(0.0, held.usd - worst.usd), max(0, held.tokens - worst.tokens))
        self._used = self._used.plus(used)
        self._active = True

    async def reach(self, worst: Amount) -> bool:
        """Get room for that much from the ledger; whether there is some now."""
        try:
            return await self._grow(worst) is None and self.refused is None and self.fits(worst)
        except StoreError:
            return False

    # -- from the ledger --------------------------------------------------------------------------
    def ask(self, worst: Amount, *, waiting: Callable[[], None] = lambda: None) -> None:
        """Get room for a call of that size, then `wake`. `refused` says why there is none."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._more(worst, waiting))

    async def _more(self, worst: Amount, waiting: Callable[[], None]) -> None:
        while True:
            try:
                held_by_others = await self._grow(worst)
            except StoreError as error:
                self.refused = BudgetExceeded(f"the budget of the day cannot be looked up: {error.message}")
                held_by_others = None
            if held_by_others:
                if not self._open:
                    waiting()
                await asyncio.sleep(_AGAIN)
            elif held_by_others is None or self._open:
                # Now, and before anybody is woken: the next who waits may ask again.
                self._asking = None
                if held_by_others is None:
                    self.wake()
                return

    async def _grow(self, worst: Amount) -> bool | None:
        """None: there is room now, or `refused` says that there never will be; else whether others hold it."""
        async with self._lock:
            today = self._today()
            if self._day != today:
                await self._leave()
                await asyncio.to_thread(self._open_day, today)
            self._ahead = self._chunk(worst)
            used, room = self._used, self._entry.whole.minus(self._used)
            for ahead in (self._ahead.plus(worst), worst):
                held = self._held.plus(ahead)
                # What is granted already may be reserved from meanwhile: never less than that.
                held = Amount(max(held.usd, room.usd), max(held.tokens, room.tokens))
                granted, document = await asyncio.to_thread(self._write, used, held)
                if granted:
                    self._tell_later()
                    self._look(document)
                    return None
            self._look(document)
            taken, theirs = ledger.others(document, self._run)
            if not theirs and not self._open:
                self.refused = self._exceeded(taken.plus(self._used), worst)
                return None
            return theirs

    def _chunk(self, worst: Amount) -> Amount:
        usd = worst.usd * _AHEAD
        tokens = worst.tokens * _AHEAD
        if self.limits.usd is not None:
            usd = min(usd, self.limits.usd / _PART)
        if self.limits.tokens is not None:
            tokens = min(tokens, self.limits.tokens // _PART)
        return Amount(usd, tokens)

    def _open_day(self, day: str) -> None:
        """What the log says of today, against what the ledger already knows of it."""
        spent = spent_on(self._store, self._run, day)
        known = ledger.entry_of(self._store.get(ledger.KIND, ledger.name_of(self._owner, day)), self._run)
        base = spent if known is None else known.base
        self._entry = Entry(base=base) if known is None else known._replace(until=0.0)
        self._used, self._held, self._open = spent.minus(base), Amount(), 0
        self._day, self._warned = day, False

    def _write(self, used: Amount, held: Amount) -> tuple[bool, ledger.Document | None]:
        """Say what is used, and hold `held`; whether that was allowed, and the document as it is."""
        name = ledger.name_of(self._owner, self._day)
        for _ in range(_TRIES):
            old = self._store.get(ledger.KIND, name)
            now = self._clock()
            document = self._derived(old, now)
            entry = Entry(used, held, now + self._ttl, self._entry.base)
            if not ledger.allowed(document, self._run, entry, self.limits):
                return False, document
            new = ledger.with_entry(document, self._run, entry)
            if self._store.swap(ledger.KIND, name, old, new):
                self._entry = entry
                return True, new
        return False, document

    def _derived(self, document: ledger.Document | None, now: float) -> ledger.Document | None:
        """The document with what became of the shares that ran out."""
        for run in ledger.overdue(document, now, but=self._run):
            entry = ledger.entry_of(document, run)
            assert entry is not None
            try:
                used = spent_on(self._store, run, self._day).minus(entry.base)
            except NotFound:  # deleted: nobody knows, so all of it counts
                used = entry.whole
            document = ledger.with_entry(document, run, Entry(used, Amount(), 0.0, entry.base))
        return document

    # -- telling ----------------------------------------------------------------------------------
    def _tell_later(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Say what was used now and then, renew what is in use, give back what is not."""
        while self._entry.held != Amount() or self._open:
            await asyncio.sleep(_TELL)
            async with self._lock:
                used = self._used
                room = self._entry.whole.minus(used)
                ahead = self._ahead if self._active else Amount()
                held = self._held.plus(ahead)
                held = Amount(min(held.usd, room.usd), min(held.tokens, room.tokens))
                self._active = False
                # Before it is written: what is given back must not be reserved from meanwhile.
                self._entry = self._entry._replace(used=used, held=held)
                try:
                    _, document = await asyncio.to_thread(self._write, used, held)
                except StoreError as error:
                    _log.warning("the ledger of the day cannot be written", error=error.message)
                    continue
                self._look(document)

    def _look(self, document: ledger.Document | None) -> None:
        used = ledger.used(document)
        if not self._warned and self.limits.fraction(used) >= 0.8:
            self._warned = True
            self._warn(used, self.limits)

    async def _leave(self) -> None:
        """Give the share back; what is still in flight counts as used."""
        if not self._day:
            return
        used = self._used.plus(self._held)

        def leave() -> None:
            name = ledger.name_of(self._owner, self._day)
            for _ in range(_TRIES):
                old = self._store.get(ledger.KIND, name)
                if ledger.entry_of(old, self._run) is None:
                    return
                if self._store.swap(ledger.KIND, name, old, ledger.without(old, self._run, used)):
                    return

        await asyncio.to_thread(leave)
        self._day = ""

    async def aclose(self) -> None:
        """Give the share back. What is not given back (a crash) runs out by itself."""
        for task in (self._asking, self._telling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        try:
            await self._leave()
        except StoreError as error:
            _log.warning("the ledger of the day cannot be written", error=error.message)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")

    def _exceeded(self, taken: Amount, worst: Amount) -> BudgetExceeded:
        if self.limits.usd is not None and taken.usd + worst.usd > self.limits.usd:
            said = f"{dollars(self.limits.usd)} a day is spent: {dollars(taken.usd)} used today by all of "
            said += f"{self._owner}'s runs"
            said += f", and the next call could cost {dollars(worst.usd)}"
        else:
            said = f"{self.limits.tokens:,} tokens a day is spent: {taken.tokens:,} used today by all of "
            said += f"{self._owner}'s runs, and the next call could take {worst.tokens:,}"
        return BudgetExceeded(
            f"the budget of {said}",
            hint="What is finished is kept. Resume tomorrow (the day ends at 00:00 UTC), or with a larger "
            "setting daily_usd or daily_tokens.",
            details={"scope": "day", "used": taken.to_json(), "budget": _limits(self.limits)},
        )


def _limits(limits: Limits) -> dict[str, Any]:
    return {"usd": limits.usd, "tokens": limits.tokens}
