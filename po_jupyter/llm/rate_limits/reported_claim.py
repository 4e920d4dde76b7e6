"""The limits that a server reports in its headers: believed until calls that break them are answered."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.llm.rate_limits.sliding_window import KINDS, Amounts

_TESTS = 3  # calls at once that test a claim first
_SLOWER = 0.98  # than the server's bucket


class ReportedClaim:
    """The limits that a server reports. When they first hold a call, a few calls beyond them test them, and one more
    for each that is answered: until the server has taken twice what it says, which no honest one does, or until most
    were refused. Then the claim is believed for good; `refills` when several were answered: it counts in buckets."""

    __slots__ = ("_answered", "_pending", "_refused", "believed", "refills", "tested")

    def __init__(self) -> None:
        """Believed, and not tested."""
        self.believed, self.tested, self.refills = True, False, False
        self._pending = self._answered = self._refused = 0

    @property
    def can_test(self) -> bool:
        """True when a call may be sent to test it."""
        return not self.tested and self._pending < _TESTS + self._answered

    def sent(self) -> None:
        """A call is sent that it forbids."""
        self._pending += 1

    def unsent(self) -> None:
        """A call that tested it ended without a verdict."""
        self._pending -= 1

    def verdict(self, *, answered: bool, twice: bool) -> None:
        """A call that tested it was answered or refused. `twice`: the server took twice what it says."""
        self._pending -= 1
        self._answered += answered
        self._refused += not answered
        if twice and self._answered >= max(_TESTS, 2 * self._refused):
            self.believed, self.tested = False, True
        elif self._refused > max(_TESTS, 2 * (self._answered + self._pending)):
            self.tested, self.refills = True, self._answered > 1


class RefillingBuckets:
    """The limits of a window by kind, as buckets that are empty and fill evenly, a touch slower than the server's."""

    __slots__ = ("_at", "_levels", "_window")

    def __init__(self, window: float, now: float) -> None:
        """Empty at `now`. `window` is in seconds."""
        self._window = window
        self._at = now
        self._levels = [0.0] * len(KINDS)

    def take(self, limits: Mapping[str, int], amounts: Amounts, now: float) -> None:
        """Count use, or with negative amounts take it back."""
        self._fill(limits, now)
        self._levels = [level - amount for level, amount in zip(self._levels, amounts, strict=True)]

    def bound(self, kind: str, remaining: int) -> None:
        """No more than so much remains, says the server."""
        index = KINDS.index(kind)
        self._levels[index] = min(self._levels[index], remaining)

    def due(self, limits: Mapping[str, int], amounts: Amounts, now: float) -> tuple[float, str] | None:
        """The time at which there is room for a call, and the kind that it waits for; None: now."""
        self._fill(limits, now)
        waits = [
            ((min(amount, limit) - level) * self._window / (_SLOWER * limit), kind)
            for kind, amount, level in zip(KINDS, amounts, self._levels, strict=True)
            if (limit := limits.get(kind)) is not None
        ]
        wait, kind = max(waits, default=(0.0, ""))
        return (now + wait, kind) if wait > 0 else None

    def _fill(self, limits: Mapping[str, int], now: float) -> None:
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        for index, kind in enumerate(KINDS):
            limit = limits.get(kind, 0)
            self._levels[index] = min(self._levels[index] + passed * _SLOWER * limit / self._window, limit)
