"""The limits of one provider or one model, from settings, its servers' headers and its refusals, and their use.

Servers count in fixed windows, in sliding windows and in token buckets. A sliding window satisfies them all: never
more than N in any trailing window keeps every fixed window, and a bucket of N that refills N a window. The
window is a touch longer than the server's, so that calls which arrive closer together than they were sent break
nothing: 2 % and a tenth of a second, which leaves 97 % of the rate at a minute.

Use that a server reports and that was not ours (other programs use the same key; it counts `max_tokens` instead of
the answer) is kept as a drift that fades until the time at which the server says that it is whole again.

A refusal (429) stops nobody but its own call, which waits for itself, as long as nothing else is known: what it is
about is guessed from more of them (`guesses`), and a guess gives way to calls that show that it is wrong. Limits that a
server reports are tested once, by a few calls beyond them. Limits of the settings are never broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from po_jupyter.llm.chat import ServerLimits
from po_jupyter.llm.rate_limits.guesses import (
    ClosedServer,
    ConcurrencyBound,
    LearnedRate,
)
from po_jupyter.llm.rate_limits.reported_claim import RefillingBuckets, ReportedClaim
from po_jupyter.llm.rate_limits.sliding_window import KINDS, NOTHING, Amounts, Cost, SlidingWindow
from po_jupyter.llm.rate_limits.tickets import Block, Ticket, span
from po_jupyter.model.run.rate_limit import RateLimit

_SOON = 1.0  # s within which a server refuses, before the first refusal; then some times as long as that took
_TOO_HIGH = 0.9  # of a rate that the settings know: it was refused
_TIME_TO_TEST = 0.7  # windows after a first report, in which it may be tested
_CALM = 2  # windows without a refusal, after which calls need no admission for it


class _Drift(NamedTuple):
    amount: int
    at: float
    until: float

    def remaining(self, now: float) -> float:
        if now >= self.until:
            return 0.0
        return self.amount * (self.until - now) / (self.until - self.at)


class LimitState:
    """The limits of one key (a provider or a model) and what counts against them.

    It has no clock: `now` is passed in, in seconds.
    """

    def __init__(self, name: str, limit: RateLimit | None, *, window: float) -> None:
        """`limit` is that of the settings, `window` in seconds."""
        self.name = name
        self.window = window
        self.in_flight = 0
        self._configured: Mapping[str, int] = limit.model_dump(exclude_none=True) if limit is not None else {}
        self._node_share = self._configured  # of them, that may be used here
        self._reported: dict[str, int] = {}
        self._spent: frozenset[str] = frozenset()  # kinds of which the server says that nothing remains
        self._used = SlidingWindow(window * 1.02 + 0.1)
        self._guessed = [0, 0, 0, 0]  # of it, by calls in flight
        self._drift: dict[str, _Drift] = {}
        self._closed = ClosedServer(window)
        self._bound = ConcurrencyBound(window)
        self._rate = LearnedRate(window)
        self._reported_at = 0.0  # first
        self._claim = ReportedClaim()
        self._buckets: RefillingBuckets | None = None  # where a server's own limits refill
        self._unjudged: deque[Ticket] = deque()  # in the order in which they were sent
        self._soon = _SOON
        self._refused_at: float | None = None  # lately

    def set_share(self, share: Mapping[str, int]) -> None:
        """Only so much of the settings' limits may be used here, by kind; nothing of a kind that is not named."""
        self._node_share = {kind: min(share.get(kind, 0), limit) for kind, limit in self._configured.items()}

    def configured(self) -> Mapping[str, int]:
        """The limits of the settings, by kind."""
        return self._configured

    def used(self, kind: str, now: float) -> int:
        """What counts of a kind now: of the trailing window, or in flight."""
        if kind == "concurrency":
            return self.in_flight
        self._used.expire(now)
        return max(0, self._used.sums[KINDS.index(kind)])

    # -- what it allows -----------------------------------------------------------------------------
    @property
    def limited(self) -> bool:
        """True when calls need admission."""
        return bool(self._configured or self._reported or self._refused_at is not None)

    def limit(self, kind: str) -> int | None:
        """The limit of a kind in a window, from everything that is known; None: it has none."""
        declared = self.declared(kind)
        if kind != "requests" or self._rate.per_second is None:
            return declared
        learned = max(1, round(self._rate.per_second * self.window))
        return learned if declared is None else min(declared, learned)

    def declared(self, kind: str) -> int | None:
        """The limit by settings and server, without what was learned from refusals."""
        limits = (self._configured.get(kind), self._claimed(kind))
        return min((limit for limit in limits if limit is not None), default=None)

    def _claimed(self, kind: str) -> int | None:
        return self._reported.get(kind) if self._claim.believed else None

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
        self._judge(now)
        if self._exceeds_share(cost):
            return Block(float("inf"), "other nodes have its limit", self.name)
        if self.in_flight >= self._node_share.get("concurrency", float("inf")):
            return self._in_flight_block()
        if now < self._closed.until:
            return Block(self._closed.until, "the server asked for a pause", self.name)
        if self._closed.step is not None and len(self._unjudged) >= self._closed.step:
            return Block(
                self._unjudged[0].at + self._soon, "others show whether the server takes calls", self.name
            )
        if (block := self._rates_block(self._node_share, cost, now)) is not None:
            return block
        for guess, block in self._broken(cost, now):
            due = self._test_due(guess, now)
            if due is None:
                return block
            if now < due:
                return Block(min(block.until, due), block.reason, block.key)
        return None

    def _exceeds_share(self, cost: Cost) -> bool:
        """Whether a call needs more than this program's share of a limit, however little of it is used."""
        return any(
            share < max(1, min(cost.of(kind), self._configured[kind]))
            for kind, share in self._node_share.items()
        )

    def _broken(self, cost: Cost, now: float) -> Iterator[tuple[str, Block]]:
        """The guesses that a call would break now."""
        if self._claim.believed and (block := self._claim_block(cost, now)) is not None:
            yield "claim", block
        if self._bound.calls is not None and self.in_flight >= self._bound.calls:
            yield "concurrency", self._in_flight_block()
        if (due := self._rate.due(now)) is not None:
            yield "rate", Block(due, f"requests {span(self.window)}", self.name)

    def _claim_block(self, cost: Cost, now: float) -> Block | None:
        if self._buckets is None:
            return self._rates_block(self._reported, cost, now)
        due = self._buckets.due(self._reported, cost.amounts, now)
        return (
            Block(due[0], f"{due[1].replace('_', ' ')} {span(self.window)}", self.name)
            if due is not None
            else None
        )

    def _test_due(self, guess: str, now: float) -> float | None:
        """The time from which on a call may break a guess to test it; None: none may."""
        if guess == "concurrency":
            return None if self._bound.trial.pending else self._bound.trial.due
        if guess == "rate":
            return self._rate.trial_due()
        return now if guess == "claim" and self._can_test_claim(now) else None

    def _took(self, kind: str, times: int) -> bool:
        """True when calls that are over used so many times what the server says: guesses do not count."""
        index = KINDS.index(kind)
        return self._used.sums[index] - self._guessed[index] >= times * self._reported[kind]

    def _can_test_claim(self, now: float) -> bool:
        """True when an answer would show that the server takes more than it says."""
        if now - self._reported_at > _TIME_TO_TEST * self.window:
            return False
        # Tokens are guessed before a call: an answer beyond their limit shows nothing.
        exhausted = "requests" in self._spent or ("requests" in self._reported and self._took("requests", 1))
        return self._claim.can_test and exhausted

    def _in_flight_block(self) -> Block:
        many = f"{self.in_flight} call{'s' * (self.in_flight != 1)} in flight"
        return Block(float("inf"), many, self.name)

    def _rates_block(self, limits: Mapping[str, int], cost: Cost, now: float) -> Block | None:
        self._used.expire(now)
        block = None
        for index, (kind, amount) in enumerate(zip(KINDS, cost.amounts, strict=True)):
            if (limit := limits.get(kind)) is None:
                continue
            at = self._due(index, kind, min(amount, limit), limit, now)
            if at is not None and (block is None or at > block.until):
                block = Block(at, f"{kind.replace('_', ' ')} {span(self.window)}", self.name)
        return block

    def _concurrency(self) -> float:
        most = float(self._configured.get("concurrency", float("inf")))
        return most if self._bound.calls is None else min(most, self._bound.calls)

    def _due(self, index: int, kind: str, amount: int, limit: int, now: float) -> float | None:
        drift = self._drift[kind].remaining(now) if kind in self._drift else 0.0
        excess = self._used.sums[index] + drift + amount - limit
        if excess > 0 and (self._used.sums[index] or drift):  # one larger than the whole limit goes alone
            soon = now + self.window / 60
            freed = self._used.frees(index, excess)
            return min(freed, soon) if drift and freed is not None else freed or soon
        return None

    # -- what happens -------------------------------------------------------------------------------
    def start(self, ticket: Ticket, *, learns: bool = False) -> None:
        """Count a call that is admitted. `learns`: it is one of this key's own calls, and tells something of it."""
        if learns:
            ticket.tests = tuple(guess for guess, _ in self._broken(ticket.cost, ticket.at))
            if "claim" in ticket.tests:
                self._claim.sent()
            if "concurrency" in ticket.tests:
                self._bound.trial.pending += 1
            self._unjudged.append(ticket)
            self._closed.sent()
            self._rate.sent(ticket.at, trial="rate" in ticket.tests)
        self.in_flight += 1
        ticket.in_flight = self.in_flight
        self._used.add(ticket.at, ticket.cost.amounts)
        self._guessed = [a + b for a, b in zip(self._guessed, ticket.cost.amounts, strict=True)]
        if self._buckets is not None:
            self._buckets.take(self._reported, ticket.cost.amounts, ticket.at)

    def count(self, at: float, amounts: Amounts) -> None:
        """Count calls that were sent without admission."""
        self._used.add(at, amounts)

    def finish(self, ticket: Ticket, used: Cost | None, sent_at: float, now: float) -> None:
        """Replace the cost of a call that is over by what it used; None: it never reached the server, or was
        refused."""
        self.in_flight = max(0, self.in_flight - 1)
        self._used.expire(now)
        self._used.add(ticket.at, ticket.cost.amounts, -1)
        self._guessed = [a - b for a, b in zip(self._guessed, ticket.cost.amounts, strict=True)]
        if self._buckets is not None:
            spent = used.amounts if used is not None else NOTHING
            a, b, c, d = (after - before for after, before in zip(spent, ticket.cost.amounts, strict=True))
            self._buckets.take(self._reported, (a, b, c, d), now)
        if used is not None:
            self._used.add(sent_at, used.amounts)

    def no_verdict(self, ticket: Ticket) -> None:
        """Learn nothing from a call that ended neither with an answer nor with a refusal, or was not sent."""
        if "claim" in ticket.tests:
            self._claim.unsent()
        if "concurrency" in ticket.tests:
            self._bound.trial.pending -= 1
        trial = "rate" in ticket.tests
        ticket.tests = ()
        if not ticket.judged:
            self._forget(ticket)
            self._closed.unsent(ticket.at)
            self._rate.untaken(ticket.at, trial=trial)

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """Learn from a call that was answered."""
        if not ticket.judged:
            self._forget(ticket)
            self._passed(ticket, now)
        if "claim" in ticket.tests:
            self._test_claim(now, answered=True)
            ticket.tests = ()
        if self._refused_at is not None and now - self._refused_at > _CALM * self.window and not self._guesses:
            self._refused_at = None

    def _test_claim(self, now: float, *, answered: bool) -> None:
        self._used.expire(now)
        self._claim.verdict(answered=answered, twice=self._took("requests", 2))
        if self._claim.refills and self._buckets is None:
            self._buckets = RefillingBuckets(self.window, now)

    @property
    def _guesses(self) -> bool:
        closed = self._closed.step is not None or self._closed.closed_at is not None
        return closed or self._bound.calls is not None or self._rate.per_second is not None

    def _judge(self, now: float) -> None:
        """What was not refused by now was taken."""
        while self._unjudged and self._unjudged[0].at + self._soon <= now:
            self._passed(self._unjudged.popleft(), now)

    def _passed(self, ticket: Ticket, now: float) -> None:
        ticket.judged = True
        self._closed.passed(ticket.at, now)
        self._bound.passed(ticket.in_flight)
        if "concurrency" in ticket.tests:
            self._bound.trial.pending -= 1
            self._bound.trial_passed(now)
        if "rate" in ticket.tests:
            self._rate.trial.pending -= 1
            self._rate.trial.passed(now)
        ticket.tests = tuple(name for name in ticket.tests if name == "claim")

    def _forget(self, ticket: Ticket) -> None:
        """Take a call out of those of which it is not known whether they are taken."""
        if ticket in self._unjudged:
            self._unjudged.remove(ticket)

    def report(self, limits: ServerLimits, now: float) -> None:
        """Take over what the server reports of its limits and what remains of them."""
        if not self._reported:
            self._reported_at = now
        self._spent = frozenset(kind for kind in KINDS if (limits.get(kind) or (None, None))[1] == 0)
        self._used.expire(now)
        for index, kind in enumerate(KINDS):
            limit, remaining, reset = limits.get(kind) or (None, None, None)
            if not limit:
                continue
            self._reported[kind] = limit
            if remaining is None:
                continue
            if self._buckets is not None:
                self._buckets.bound(kind, remaining)
            more = limit - remaining - self._used.sums[index]
            fades = min(reset if reset is not None else self.window, self.window)
            if more > 0 and fades > 0:
                self._drift[kind] = _Drift(more, now, now + fades)
            else:
                self._drift.pop(kind, None)

    def refused(self, ticket: Ticket, after: float | None, now: float) -> bool:
        """Learn from a refusal (429) of a call that has finished; `after` is the server's `Retry-After`.

        True when others than the call itself have to wait for it.
        """
        self._refused_at = now
        self._soon = max(0.02, min(5.0, max(0.8 * self._soon, 3 * (now - ticket.at))))
        self._forget(ticket)
        tests, ticket.tests = ticket.tests, ()
        self._rate.untaken(now, trial="rate" in tests)
        if "claim" in tests:
            self._test_claim(now, answered=False)
        if "concurrency" in tests:
            self._bound.trial.pending -= 1
            self._bound.trial_refused(now)
        if "rate" in tests:
            self._rate.trial.refused(now)
        if tests and tests != ("rate",):
            return False
        others = len(self._unjudged)
        trusted = bool(self._configured or (self._reported and self._claim.tested and self._claim.believed))
        was_open = self._closed.closed_at is None
        if self._closed.refused(ticket.at, after, now, others=others, trusted=trusted, spent=bool(self._spent)):
            if was_open:
                if trusted:
                    self._rate.refused(ticket.at, now)
                self._rate.closed(now, others)
                if (
                    (known := self.declared("requests")) is not None
                    and trusted
                    and self._rate.per_second is None
                ):
                    self._rate.assume(_TOO_HIGH * known / self.window, now)
            else:
                self._rate.rest(now)
            self._bound.calls = None
            return True
        if now < self._closed.until:
            return False
        if tests:
            return False
        if self._rate.per_second is not None:
            self._rate.refused(ticket.at, now)
        else:
            within = ticket.at > self._bound.drawn_at
            self._bound.refused(self.in_flight, now, within=within)
        return False
