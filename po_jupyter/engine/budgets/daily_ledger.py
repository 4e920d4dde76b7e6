"""The ledger of an owner's day (UTC): a document of the store from which the worker of each run leases a share.

    {"ended": {usd, tokens}, "runs": {RUN: {usd, tokens, held_usd, held_tokens, until, base_usd, base_tokens}}}

A share covers many calls: the worker reserves from it without touching the store, and reports every few seconds what
was used, in absolute numbers, so reporting twice changes nothing and the document is no hot spot. A share runs out at
`until` (seconds since 1970) unless it is renewed. The amount used of a share that ran out is derived from the log of
its run; what a worker wakes up with later is void. `base` is what the run had used that day before this entry: it is
in `ended` already. The first share of a day begins the ledger with what was spent before (`daily_opening`).

Everything here is pure; `daily_share` reads and writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypedDict

from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount, AmountJson

KIND = "spending"


class LedgerEntryJson(TypedDict):
    """A `LedgerEntry` in the document."""

    usd: float
    tokens: int
    held_usd: float
    held_tokens: int
    until: float
    base_usd: float
    base_tokens: int


class LedgerDocument(TypedDict):
    """The ledger of one owner's day. `ended` is the sum of runs that gave their share back."""

    ended: AmountJson
    runs: dict[str, LedgerEntryJson]


def name_of(owner: str, day: str) -> str:
    """The name of the document of an owner's day."""
    return f"{day}/{owner[:400]}"


class LedgerEntry(NamedTuple):
    """A run's share of a day: the amount used since `base`, the amount reserved beyond that, and its end."""

    used: Amount = ZERO
    reserved: Amount = ZERO
    until: float = 0.0
    base: Amount = ZERO

    @property
    def whole(self) -> Amount:
        """The amount used and reserved."""
        return self.used.plus(self.reserved)

    def to_json(self) -> LedgerEntryJson:
        """The entry in the document."""
        return {
            "usd": self.used.usd,
            "tokens": self.used.tokens,
            "held_usd": self.reserved.usd,
            "held_tokens": self.reserved.tokens,
            "until": self.until,
            "base_usd": self.base.usd,
            "base_tokens": self.base.tokens,
        }


def _parse(entry: LedgerEntryJson) -> LedgerEntry:
    return LedgerEntry(
        Amount(entry["usd"], entry["tokens"]),
        Amount(entry["held_usd"], entry["held_tokens"]),
        entry["until"],
        Amount(entry["base_usd"], entry["base_tokens"]),
    )


def _entries(document: LedgerDocument | None) -> Mapping[str, LedgerEntryJson]:
    return document["runs"] if document is not None else {}


def _ended(document: LedgerDocument | None) -> Amount:
    return Amount(document["ended"]["usd"], document["ended"]["tokens"]) if document is not None else ZERO


def entry_of(document: LedgerDocument | None, run: str) -> LedgerEntry | None:
    """The entry of a run, or None."""
    entry = _entries(document).get(run)
    return _parse(entry) if entry is not None else None


def overdue(document: LedgerDocument | None, now: float, *, except_run: str = "") -> dict[str, LedgerEntry]:
    """Entries by run whose share ran out with a reservation: the logs of these runs tell what became of it."""
    return {
        run: entry
        for run, entry in ((run, _parse(entry)) for run, entry in _entries(document).items())
        if run != except_run and entry.until <= now and entry.reserved != ZERO
    }


def without_share(document: LedgerDocument) -> list[str]:
    """Runs with an entry and no share: that of their worker ran out, or it works without a limit."""
    return [run for run, entry in document["runs"].items() if not entry["until"]]


def used(document: LedgerDocument | None) -> Amount:
    """The amount used, without reservations."""
    total = _ended(document)
    for entry in _entries(document).values():
        total = total.plus(_parse(entry).used)
    return total


def share_of_others(document: LedgerDocument | None, run: str) -> tuple[Amount, bool]:
    """The amount that all runs but `run` used or reserved, with True when some of it is reserved."""
    total, reserved = _ended(document), False
    for name, entry in _entries(document).items():
        if name != run:
            total = total.plus(_parse(entry).whole)
            reserved = reserved or _parse(entry).reserved != ZERO
    return total, reserved


def with_entry(document: LedgerDocument | None, run: str, entry: LedgerEntry) -> LedgerDocument:
    """The document with the entry of a run replaced."""
    return {"ended": _ended(document).to_json(), "runs": {**_entries(document), run: entry.to_json()}}


def without(document: LedgerDocument | None, run: str, used: Amount) -> LedgerDocument:
    """The document once a run gave its share back, having used `used` since its base."""
    runs = {name: entry for name, entry in _entries(document).items() if name != run}
    return {"ended": _ended(document).plus(used).to_json(), "runs": runs}


def allowed(document: LedgerDocument | None, run: str, entry: LedgerEntry, limits: BudgetLimits) -> bool:
    """Whether a run may have that entry. Less than it had is always allowed: it was granted before."""
    before = entry_of(document, run)
    if before is not None and entry.whole.usd <= before.whole.usd and entry.whole.tokens <= before.whole.tokens:
        return True
    return limits.allow(share_of_others(document, run)[0].plus(entry.whole))
