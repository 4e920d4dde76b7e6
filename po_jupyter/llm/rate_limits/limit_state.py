"""The limits of one provider or one model, from settings, its servers' headers and its refusals, and their use.

Servers count in fixed windows, in sliding windows and in token buckets. A sliding window satisfies them all: never
more than N in any trailing window keeps every fixed window, and a bucket of N that refills N a window. The
window is a touch longer than the server's, so that calls which arrive closer together than they were sent break
nothing: 2 % and a tenth of a second, which leaves 97 % of the rate at a minute.

Use that a server reports and that was not ours (other programs use the same key; it counts `max_tokens` instead of
the answer) is kept as a drift that fades until the time at which the server says that it is whole again.

A refusal (429) pauses the key for everybody until the server's `Retry-After`, and halves the calls in flight; each
window of successes as long as the calls allowed brings back one (AIMD, as TCP: RFC 5681). When a rate was known
all the same it was a tenth too high, or is enforced over shorter times: from then on calls are spaced evenly.
When none was known and two refusals come after the same number of calls, that number is taken for the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from po_jupyter.llm.chat import ServerLimits
from po_jupyter.llm.rate_limits.sliding_window import KINDS, Amounts, Cost, SlidingWindow
from po_jupyter.model.run.rate_limit import RateLimit

_LEAST_SCALE = 0.2
_MAX_DOUBLINGS = 5  # of a pause whose length no server said


class Block(NamedTuple):
    """The reason why a call cannot be sent now; at `until` it is worth another look."""

    until: float
    reason: str
    key: str


@dataclass(slots=True)
class Ticket:
    """A call that was admitted, at `at`. `rated`: a rate of one of its keys was known then."""

    run: str
    id: int
    model: str
    cost: Cost
    at: float
    rated: bool = False


class _Drift(NamedTuple):
    amount: int
    at: float
    until: float

    def remaining(self, now: float) -> float:
        if now >= self.until:
            return 0.0
        return self.amount * (self.until - now) / (self.until - self.at)


def span(window: float) -> str:
    """A window for people: `per minute`."""
    return "per minute" if window == 60 else f"per {window:g} s"


class LimitState:
    """The limits of one key (a provider or a model) and what counts against them.

    It has no clock: `now` is passed in, in seconds.
    """

    def __init__(self, name: str, limit: RateLimit | None, *, window: float) -> None:
        """`limit` is that of the settings, `window` in seconds."""
        self.name = name
        self.window = window
        self.in_flight = 0
        self.cap: float | None = None  # of calls in flight, after a refusal
        self.estimate: int | None = None  # requests a window, learned from refusals
        self._configured: Mapping[str, int] = limit.model_dump(exclude_none=True) if limit is not None else {}
        self._reported: dict[str, int] = {}
        self._used = SlidingWindow(window * 1.02 + 0.1)
        self._drift: dict[str, _Drift] = {}
        self._scale = 1.0
        self._even: dict[str, float] | None = None  # by kind, when the next call is due
        self._paused = float("-inf")
        self._refused_at = float("-inf")
        self._refusals = 0  # in a row
        # Calls that were accepted before the last refusal: in its window, and since the pause before it. And
        # before the one before that.
        self._accepted = (0, 0)
        self._accepted_before = 0
        self._unjudged = False  # no conclusion has been drawn from `_accepted` yet
        self._resumed = float("-inf")  # when the last pause ended
        self._clean = 0  # successes towards one more in flight
        self._cleared = float("-inf")  # when the rate was last raised
        self._step = 1  # by how much the next time

    # -- what it allows -----------------------------------------------------------------------------
    @property
    def limited(self) -> bool:
        """True when calls need admission."""
        return bool(self._configured or self._reported or self.cap is not None or self.estimate is not None)

    @property
    def rated(self) -> bool:
        """True when a rate is known, so that a refusal says something about it."""
        return any(self.limit(kind) is not None for kind in KINDS)

    def limit(self, kind: str) -> int | None:
        """The limit of a kind in a window, from everything that is known; None: it has none."""
        candidates = [limits[kind] for limits in (self._configured, self._reported) if kind in limits]
        if kind == "requests" and self.estimate is not None:
            candidates.append(self.estimate)
        return max(1, int(min(candidates) * self._scale)) if candidates else None

    def declared(self, kind: str) -> int | None:
        """The limit by settings and server, without what was learned from refusals."""
        return min(
            (limits[kind] for limits in (self._configured, self._reported) if kind in limits), default=None
        )

    def limits(self) -> dict[str, int]:
        """All limits as they are now, by kind."""
        rates = {kind: limit for kind in KINDS if (limit := self.limit(kind)) is not None}
        concurrency = self._concurrency()
        return rates | ({"concurrency": int(concurrency)} if concurrency != float("inf") else {})

    def share(self, amounts: Amounts) -> float:
        """The largest part that amounts are of any of the limits."""
        limits = zip(map(self.limit, KINDS), amounts, strict=True)
        return max((amount / limit for limit, amount in limits if limit is not None), default=0.0)

    def block(self, cost: Cost, now: float) -> Block | None:
        """The reason why a call of that size cannot be sent now; None: it can."""
        if now < self._paused:
            return Block(self._paused, "the server asked for a pause", self.name)
        if self.in_flight >= self._concurrency():
            many = f"{self.in_flight} call{'s' * (self.in_flight != 1)} in flight"
            return Block(float("inf"), many, self.name)
        self._used.expire(now)
        block = None
        for index, (kind, amount) in enumerate(zip(KINDS, cost.amounts, strict=True)):
            limit = self.limit(kind)
            if limit is None:
                continue
            at = self._due(index, kind, min(amount, limit), limit, now)
            if at is not None and (block is None or at > block.until):
                block = Block(at, f"{kind.replace('_', ' ')} {span(self.window)}", self.name)
        return block

    def _concurrency(self) -> float:
        most = float(self._configured.get("concurrency", float("inf")))
        return most if self.cap is None else min(most, max(1, int(self.cap)))

    def _due(self, index: int, kind: str, amount: int, limit: int, now: float) -> float | None:
        drift = self._drift[kind].remaining(now) if kind in self._drift else 0.0
        excess = self._used.sums[index] + drift + amount - limit
        if excess > 0 and (self._used.sums[index] or drift):  # one larger than the whole limit goes alone
            soon = now + self.window / 60
            freed = self._used.frees(index, excess)
            return min(freed, soon) if drift and freed is not None else freed or soon
        if self._even is not None and (due := self._even.get(kind, now) - self.window / 20) > now:
            return due
        return None

    # -- what happens -------------------------------------------------------------------------------
    def start(self, ticket: Ticket) -> None:
        """Count a call that is admitted."""
        self._judge()
        self.in_flight += 1
        self._used.add(ticket.at, ticket.cost.amounts)
        self._pace(ticket.cost.amounts, ticket.at)

    def _pace(self, amounts: Amounts, now: float | None = None) -> None:
        if self._even is None:
            return
        for kind, amount in zip(KINDS, amounts, strict=True):
            if (limit := self.limit(kind)) is not None:
                due = self._even.get(kind, 0.0)
                self._even[kind] = (due if now is None else max(now, due)) + amount * self.window / limit

    def count(self, at: float, amounts: Amounts) -> None:
        """Count calls that were sent without admission."""
        self._used.add(at, amounts)

    def finish(self, ticket: Ticket, used: Cost | None, sent_at: float, now: float) -> None:
        """Replace the cost of a call that is over by what it used; None: it never reached the server, or was
        refused."""
        self.in_flight = max(0, self.in_flight - 1)
        self._used.expire(now)
        self._used.add(ticket.at, ticket.cost.amounts, -1)
        if used is not None:
            self._used.add(sent_at, used.amounts)
            before, after = ticket.cost.amounts, used.amounts
            self._pace((0, after[1] - before[1], after[2] - before[2], after[3] - before[3]))

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """Allow more again, slowly, when a call was answered that was admitted after the last refusal."""
        if ticket.at <= self._refused_at:
            return
        self._refusals = 0
        if self.cap is not None:
            self._clean += 1
            if self._clean >= self.cap:
                self._clean = 0
                self.cap += 1
                if self.cap > 4 * (self.in_flight + 8):
                    self.cap = None
        since = max(self._refused_at, self._cleared)
        if (self.estimate is not None or self._scale < 1) and now - since > self.window / 2:
            self._cleared = now
            if self.estimate is not None:
                self.estimate += max(1, self.estimate // 50) * self._step
                self._step *= 2  # it may be far too low: the refusals were perhaps about something else
            self._scale = min(1.0, self._scale + 0.01)

    def report(self, limits: ServerLimits, now: float) -> None:
        """Take over what the server reports of its limits and what remains of them."""
        self._used.expire(now)
        for index, kind in enumerate(KINDS):
            limit, remaining, reset = limits.get(kind) or (None, None, None)
            if not limit:
                continue
            self._reported[kind] = limit
            if remaining is None:
                continue
            more = limit - remaining - self._used.sums[index]
            fades = min(reset if reset is not None else self.window, self.window)
            if more > 0 and fades > 0:
                self._drift[kind] = _Drift(more, now, now + fades)
            else:
                self._drift.pop(kind, None)

    def refused(self, ticket: Ticket, after: float | None, now: float) -> bool:
        """Slow down after a refusal (429) of a call that has finished; `after` is the server's `Retry-After`.

        False when it is no news: the call was admitted before the last refusal.
        """
        if after is not None:
            self._paused = max(self._paused, now + after)
        if ticket.at <= self._refused_at:
            self._accepted = (self._accepted[0] - 1, self._accepted[1] - 1)
            return False
        self._judge()
        self._used.expire(now)
        # A fixed window began anew meanwhile; not when the two came quickly one after the other.
        fresh = self._used.since(self._resumed)[0] if now - self._refused_at > self.window / 4 else 0
        self._accepted = (self._used.sums[0], fresh)
        if after is None:
            self._paused = max(self._paused, now + self.window / 60 * 2 ** min(self._refusals, _MAX_DOUBLINGS))
        self._refusals += 1
        self._clean, self._step = 0, 1
        self.cap = max(1.0, min(self.in_flight + 1, self._concurrency()) / 2)
        self._unjudged = not self.rated
        if self.rated and ticket.rated:
            self._even = self._even or {}
            if self.estimate is not None:
                self.estimate = max(1, int(self.estimate * 0.9))
            else:
                self._scale = max(_LEAST_SCALE, self._scale * 0.9)
        self._refused_at = now
        self._resumed = self._paused
        return True

    def _judge(self) -> None:
        """How many calls were accepted before the last refusal is known once all that were under way then have
        come back: compare it with the refusal before."""
        if not self._unjudged:
            return
        self._unjudged = False
        before, self._accepted_before = self._accepted_before, self._accepted[0]
        alike = [n for n in self._accepted if before > 0 and 0.7 <= n / before <= 1.3]
        if alike and not self.rated:
            self.estimate = max(1, min(*alike, before))
