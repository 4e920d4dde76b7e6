"""What all runs of one owner may use in a day (UTC): a document of the store that workers take shares from.

    {"ended": {usd, tokens}, "runs": {RUN: {usd, tokens, held_usd, held_tokens, until, base_usd, base_tokens}}}

A worker takes a share that covers many calls, reserves from it without touching the store, and says every few
seconds what was used, in absolute numbers: so saying it twice changes nothing, and the document is no hot spot.
A share runs out at `until` (seconds since 1970) unless it is renewed. Of a share that ran out, what was used
is derived from the log of its run; what a worker wakes up with later is void. `base` is what the run had used
that day before this entry: it is in `ended` already.

Everything here is pure; `engine.share` does the reading and writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from po_jupyter.engine.replay.spent_from_log import Amount

KIND = "spending"
Document = Mapping[str, Any]


def name_of(owner: str, day: str) -> str:
    """The name of the document of an owner's day."""
    return f"{day}/{owner[:400]}"


class Entry(NamedTuple):
    """A run's part of a day: what it used since `base`, what it holds beyond that, and until when."""

    used: Amount = Amount()
    held: Amount = Amount()
    until: float = 0.0
    base: Amount = Amount()

    @property
    def whole(self) -> Amount:
        """Used and held."""
        return self.used.plus(self.held)

    def to_json(self) -> dict[str, Any]:
        """As the document has it."""
        return {
            "usd": self.used.usd,
            "tokens": self.used.tokens,
            "held_usd": self.held.usd,
            "held_tokens": self.held.tokens,
            "until": self.until,
            "base_usd": self.base.usd,
            "base_tokens": self.base.tokens,
        }


class Limits(NamedTuple):
    """Of a day; None: no limit of that kind."""

    usd: float | None = None
    tokens: int | None = None

    def allow(self, amount: Amount) -> bool:
        """Whether that much may be used."""
        # A billionth of a dollar is what sums of floats drift, not money.
        fits = self.usd is None or amount.usd <= self.usd + 1e-9
        return fits and (self.tokens is None or amount.tokens <= self.tokens)

    def fraction(self, amount: Amount) -> float:
        """How much of the nearer limit `amount` is."""
        parts = [
            amount.usd / self.usd if self.usd else 0.0,
            amount.tokens / self.tokens if self.tokens else 0.0,
        ]
        return max(parts)


def entry_of(document: Document | None, run: str) -> Entry | None:
    """The run's entry, or None."""
    said = ((document or {}).get("runs") or {}).get(run)
    if said is None:
        return None
    return Entry(
        Amount(said["usd"], said["tokens"]),
        Amount(said["held_usd"], said["held_tokens"]),
        said["until"],
        Amount(said["base_usd"], said["base_tokens"]),
    )


def _ended(document: Document | None) -> Amount:
    said = (document or {}).get("ended") or {}
    return Amount(said.get("usd", 0.0), said.get("tokens", 0))


def overdue(document: Document | None, now: float, *, but: str = "") -> list[str]:
    """Runs whose share ran out with something held: their logs say what became of it."""
    found = []
    for run in (document or {}).get("runs") or {}:
        entry = entry_of(document, run)
        if run != but and entry is not None and entry.until <= now and entry.held != Amount():
            found.append(run)
    return found


def used(document: Document | None) -> Amount:
    """What is used, shares that are held left out."""
    total = _ended(document)
    for run in (document or {}).get("runs") or {}:
        entry = entry_of(document, run)
        assert entry is not None
        total = total.plus(entry.used)
    return total


def others(document: Document | None, run: str) -> tuple[Amount, bool]:
    """What all but `run` used or hold, and whether some of it is held and may come back."""
    total, held = _ended(document), False
    for other in (document or {}).get("runs") or {}:
        if other != run:
            entry = entry_of(document, other)
            assert entry is not None
            total = total.plus(entry.whole)
            held = held or entry.held != Amount()
    return total, held


def with_entry(document: Document | None, run: str, entry: Entry) -> dict[str, Any]:
    """The document with the run's entry replaced."""
    runs = {**((document or {}).get("runs") or {}), run: entry.to_json()}
    return {"ended": _ended(document).to_json(), "runs": runs}


def without(document: Document | None, run: str, used: Amount) -> dict[str, Any]:
    """The document once the run let go of its share, having used `used` since its base."""
    runs = {k: v for k, v in ((document or {}).get("runs") or {}).items() if k != run}
    return {"ended": _ended(document).plus(used).to_json(), "runs": runs}


def allowed(document: Document | None, run: str, entry: Entry, limits: Limits) -> bool:
    """Whether the run may have that entry. Less than it had is always right: it was granted before."""
    before = entry_of(document, run)
    if before is not None and entry.whole.usd <= before.whole.usd and entry.whole.tokens <= before.whole.tokens:
        return True
    return limits.allow(others(document, run)[0].plus(entry.whole))
