"""A simulation of clients and a server that refuses, on a clock of its own: the limiter, and plain backoff beside it.

`finish_with_limiter` and `finish_with_backoff` play the same work against the same kind of server and return how
long it took. The backoff is that of the vendors' SDKs (openai-python): each call waits for itself,
for as long as `Retry-After` says when that is above 0 and at most two minutes, else 0.5 s, doubled, at most 8.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from po_jupyter.llm.calls.retry import refused_delay, retry_delay
from po_jupyter.llm.rate_limits.limiter import Limiter
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.pipeline.llm_settings import CallRetry

MODEL = "openai:gpt-5-mini"


class Verdict(NamedTuple):
    """The answer of a server to a request: refused or not, its `Retry-After`, and the limits in its headers."""

    refused: bool
    after: float | None = None
    limits: Any = None


class RefusingServer(Protocol):
    """A server of the simulation."""

    def arrive(self, now: float) -> Verdict:
        """A request arrives."""
        ...

    def leave(self, now: float) -> None:
        """A request that was taken is answered."""
        ...


@dataclass
class RandomServer:
    """Refuses a part of the requests at random."""

    part: float
    after: float | None
    dice: random.Random = field(default_factory=lambda: random.Random(5))
    limits: Any = None

    def arrive(self, now: float) -> Verdict:
        return Verdict(self.dice.random() < self.part, self.after, self.limits)

    def leave(self, now: float) -> None:
        pass


@dataclass
class BusyServer:
    """Works on so many requests at a time and refuses the others (Moonshot, Z.ai, DeepSeek)."""

    places: int
    after: float | None
    busy: int = 0

    def arrive(self, now: float) -> Verdict:
        if self.busy >= self.places:
            return Verdict(True, self.after)
        self.busy += 1
        return Verdict(False)

    def leave(self, now: float) -> None:
        self.busy -= 1


@dataclass
class CountingServer:
    """Counts as `counts` does (`tests.support.limit_servers`); `says` is the `Retry-After` made of the true one."""

    counts: Any
    says: Callable[[float], float | None] = lambda wait: wait
    headers: bool = False

    def arrive(self, now: float) -> Verdict:
        wait = self.counts.take(now, 100)
        limits = None
        if self.headers:
            requests, _, whole = self.counts.remaining(now)
            limits = {"requests": (self.counts.requests, max(0, requests), whole)}
        return Verdict(False, None, limits) if wait is None else Verdict(True, self.says(wait), limits)

    def leave(self, now: float) -> None:
        pass


@dataclass
class BoastingServer:
    """Its headers count down a limit that it does not enforce. `stuck`: always nothing remains."""

    requests: int
    window: float
    stuck: bool = False
    seen: list[float] = field(default_factory=list)

    def arrive(self, now: float) -> Verdict:
        self.seen = [at for at in self.seen if at > now - self.window] + [now]
        remaining = 0 if self.stuck else max(0, self.requests - len(self.seen))
        return Verdict(False, None, {"requests": (self.requests, remaining, self.window)})

    def leave(self, now: float) -> None:
        pass


class Played(NamedTuple):
    """The seconds that the work took, the refusals, and the most refusals of one call."""

    seconds: float
    refusals: int
    worst: int


class _Clock:
    def __init__(self, until: float) -> None:
        self.now, self.until = 0.0, until
        self._ids = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._ids), act))

    def run(self, after_each: Callable[[], None] = lambda: None) -> None:
        while self._events and self._events[0][0] <= self.until:
            self.now, _, act = heapq.heappop(self._events)
            act()
            after_each()


class _Work:
    """So many calls by so many workers, each of which waits for its own call."""

    def __init__(
        self,
        server: RefusingServer,
        calls: int,
        width: int,
        latency: tuple[float, float],
        seed: int,
        until: float,
    ) -> None:
        self.server, self.left, self.latency = server, calls, latency
        self.dice = random.Random(seed)
        self.clock = _Clock(until)
        self.refusals = self.worst = self.done = 0
        self.ended = float("inf")
        self.calls = calls
        for _ in range(min(width, calls)):
            self.clock.at(0.0, self.next)

    def next(self) -> None:
        if self.left:
            self.left -= 1
            self.ask(1)

    def ask(self, attempt: int) -> None:
        raise NotImplementedError

    def send(
        self, attempt: int, answered: Callable[[Verdict], None], refused: Callable[[Verdict], None]
    ) -> None:
        """Send a request; its answer comes after the latency, a refusal at once."""
        way = self.dice.uniform(0.001, 0.02)

        def arrive() -> None:
            verdict = self.server.arrive(self.clock.now)
            if verdict.refused:
                self.refusals += 1
                self.worst = max(self.worst, attempt)
                self.clock.at(self.clock.now + way, lambda: refused(verdict))
            else:
                work = self.dice.uniform(*self.latency)
                self.clock.at(self.clock.now + work, lambda: self.server.leave(self.clock.now))
                self.clock.at(self.clock.now + work + way, lambda: self.finish(verdict, answered))

        self.clock.at(self.clock.now + way, arrive)

    def finish(self, verdict: Verdict, answered: Callable[[Verdict], None]) -> None:
        self.done += 1
        if self.done == self.calls:
            self.ended = self.clock.now
        answered(verdict)
        self.next()


class _Backoff(_Work):
    def ask(self, attempt: int) -> None:
        def refused(verdict: Verdict) -> None:
            delay = min(0.5 * 2.0 ** min(attempt - 1, 9), 8.0) * (1 - 0.25 * self.dice.random())
            if verdict.after is not None and 0 < verdict.after <= 120:
                delay = verdict.after
            self.clock.at(self.clock.now + delay, lambda: self.ask(attempt + 1))

        self.send(attempt, lambda verdict: None, refused)


class _Limited(_Work):
    def __init__(self, limiter: Limiter, *args: Any) -> None:
        self.limiter = limiter
        self.ids = itertools.count()
        self.attempts: dict[int, int] = {}
        self.wake: float | None = None
        super().__init__(*args)

    def ask(self, attempt: int) -> None:
        id = next(self.ids)
        self.attempts[id] = attempt
        now = self.clock.now
        if self.limiter.limited_keys():
            self.limiter.enqueue("run", id, MODEL, input=50, max_output=50, now=now)
        else:  # as a worker does: straight on, and the limiter learns of it when there is something to learn
            self.limiter.adopt("run", MODEL, past=(), open=[(id, 0.0, 50, 50)], now=now)
            self.go(id)

    def go(self, id: int) -> None:
        attempt, sent_at = self.attempts.pop(id), self.clock.now

        def answered(verdict: Verdict) -> None:
            now = self.clock.now
            self.limiter.settle("run", id, used=Cost(50, 50), now=now, ago=now - sent_at, limits=verdict.limits)

        def refused(verdict: Verdict) -> None:
            now = self.clock.now
            self.limiter.refused("run", id, now=now, after=verdict.after, limits=verdict.limits)
            delay = refused_delay(attempt, CallRetry())
            if verdict.after:
                delay = retry_delay(attempt, CallRetry(), verdict.after, cap=120)
            self.clock.at(now + delay, lambda: self.ask(attempt + 1))

        self.send(attempt, answered, refused)

    def admit(self) -> None:
        now = self.clock.now
        admitted = self.limiter.admit(now)
        for ticket in admitted.tickets:
            self.go(ticket.id)
        if admitted.again is not None and (self.wake is None or self.wake <= now or admitted.again < self.wake):
            self.wake = max(admitted.again, now + 1e-6)
            self.clock.at(self.wake, lambda: None)


def finish_with_backoff(
    server: RefusingServer,
    *,
    calls: int,
    width: int,
    latency: tuple[float, float],
    seed: int = 1,
    until: float = 1e5,
) -> Played:
    """The work with plain backoff."""
    work = _Backoff(server, calls, width, latency, seed, until)
    work.clock.run()
    return Played(work.ended, work.refusals, work.worst)


def finish_with_limiter(
    server: RefusingServer,
    *,
    calls: int,
    width: int,
    latency: tuple[float, float],
    seed: int = 1,
    until: float = 1e5,
    limiter: Limiter | None = None,
) -> Played:
    """The work with the limiter; each attempt waits as `with_retry` does."""
    work = _Limited(limiter or Limiter(), server, calls, width, latency, seed, until)
    work.clock.run(work.admit)
    return Played(work.ended, work.refusals, work.worst)
