"""G3, P7: the limiter against servers that count in every way, on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.rate_limits.limiter import Limiter
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.run.rate_limit import RateLimit
from tests.support.limit_servers import FixedWindowServer, SlidingWindowServer, TokenBucketServer

pytestmark = pytest.mark.integration  # waits for places: it takes seconds

MODEL = "openai:gpt-5-mini"
MINUTE = 60.0


class World:
    """Runs that call as fast as their limiter and their own concurrency let them, and a server that enforces."""

    def __init__(
        self,
        limiter: Limiter,
        server: Any,
        *,
        runs: dict[str, int],
        latency: Callable[[random.Random], float] = lambda dice: dice.uniform(0.5, 3.0),
        size: Callable[[random.Random], tuple[int, int]] = lambda dice: (40, dice.randint(40, 160)),
        calls: int = 10**9,
        headers: bool = False,
        retry_after: bool = True,
        free: bool = False,
        model: str = MODEL,
        seed: int = 1,
    ) -> None:
        self.limiter, self.server = limiter, server
        self.latency, self.size, self.headers, self.retry_after = latency, size, headers, retry_after
        self.free, self.model = free, model
        self.dice = random.Random(seed)
        self.now = 0.0
        self.ids = itertools.count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.left = dict.fromkeys(runs, calls)
        self.sent: list[tuple[float, str, int]] = []  # accepted: (when, run, tokens)
        self.refused: list[float] = []
        for run, width in runs.items():
            for _ in range(width):
                self.at(0.0, lambda run=run: self.want(run))

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.ids), act))

    def want(self, run: str) -> None:
        if self.left[run] <= 0:
            return
        self.left[run] -= 1
        self.ask(run, self.size(self.dice))

    def ask(self, run: str, size: tuple[int, int]) -> None:
        id = next(self.ids)
        self.open = getattr(self, "open", {})
        self.open[id] = (run, size)
        if self.free and not self.limiter.limited_keys():
            # As a worker does: straight, and limits only when there is something to tell.
            self.limiter.adopt(run, self.model, past=(), open=[(id, 0.0, size[0], 500)], now=self.now)
            self.go(id)
        else:
            self.limiter.enqueue(run, id, self.model, input=size[0], max_output=500, now=self.now)

    def go(self, id: int) -> None:
        run, size = self.open.pop(id)
        jitter = self.dice.uniform(0.0, 0.05)
        self.at(self.now + jitter, lambda: self.arrive(id, run, size, self.now))

    def arrive(self, id: int, run: str, size: tuple[int, int], sent_at: float) -> None:
        tokens = sum(size)
        wait = self.server.take(self.now, tokens)
        limits = None
        if self.headers:
            requests, left, whole = self.server.remaining(self.now)
            limits = {
                "requests": (self.server.requests, requests, whole),
                "tokens": (self.server.tokens, max(0, left), whole),
            }
        if wait is not None:
            self.refused.append(self.now)
            after = wait if self.retry_after else None
            self.at(self.now + 0.05, lambda: self.turned_away(id, run, size, after, limits))
            return
        self.sent.append((self.now, run, tokens))
        self.at(self.now + self.latency(self.dice), lambda: self.answered(id, run, size, sent_at, limits))

    def answered(self, id: int, run: str, size: tuple[int, int], sent_at: float, limits: Any) -> None:
        used = Cost(*size)
        self.limiter.settle(run, id, used=used, now=self.now, ago=self.now - sent_at, limits=limits)
        self.want(run)

    def turned_away(self, id: int, run: str, size: tuple[int, int], after: float | None, limits: Any) -> None:
        self.limiter.refused(run, id, now=self.now, after=after, limits=limits)
        self.at(self.now + (after or 1.0), lambda: self.ask(run, size))

    def play(self, seconds: float) -> World:
        wake = None
        while self.events and self.events[0][0] <= seconds:
            self.now, _, act = heapq.heappop(self.events)
            act()
            admitted = self.limiter.admit(self.now)
            for ticket in admitted.tickets:
                self.go(ticket.id)
            if admitted.again is not None and (wake is None or wake <= self.now or admitted.again < wake):
                wake = max(admitted.again, self.now + 1e-6)
                self.at(wake, lambda: None)
        return self

    def rate(self, since: float, until: float) -> tuple[float, float]:
        """(requests, tokens) a minute between two times."""
        accepted = [(at, tokens) for at, _, tokens in self.sent if since <= at < until]
        minutes = (until - since) / MINUTE
        return len(accepted) / minutes, sum(tokens for _, tokens in accepted) / minutes


SERVERS = {
    "fixed": lambda n, t: FixedWindowServer(n, t, MINUTE, origin=-17.0),
    "sliding": lambda n, t: SlidingWindowServer(n, t, MINUTE),
    "bucket": lambda n, t: TokenBucketServer(n, t, MINUTE),
}


def limited_to(**limits: int) -> Limiter:
    return Limiter({MODEL: RateLimit(**limits)})


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("requests_bind", [True, False], ids=["requests", "tokens"])
def test_no_refusal_and_nine_tenths_of_the_rate(kind: str, requests_bind: bool) -> None:
    """Done-when 4: a limit that settings name is kept and used, however the server counts."""
    tokens = 20_000 if requests_bind else 6_000
    world = World(limited_to(requests=60, tokens=tokens), SERVERS[kind](60, tokens), runs={"a": 20, "b": 20})
    world.play(15 * MINUTE)
    assert world.refused == []
    requests, used = world.rate(2 * MINUTE, 14 * MINUTE)
    assert max(requests / 60, used / tokens) >= 0.9, (requests, used)


@pytest.mark.parametrize("seed", range(5))
def test_sliding_server_with_wild_sizes(seed: int) -> None:
    """Sizes that nobody can guess: the bound of answers is 500, most are short, some are not."""

    def size(dice: random.Random) -> tuple[int, int]:
        return dice.randint(10, 400), dice.choice([5, 20, 480])

    world = World(
        limited_to(tokens=10_000),
        SlidingWindowServer(10**6, 10_000, MINUTE),
        runs={"a": 30},
        size=size,
        seed=seed,
    ).play(12 * MINUTE)
    assert len(world.refused) <= len(world.sent) * 0.01
    assert world.rate(2 * MINUTE, 11 * MINUTE)[1] >= 0.85 * 10_000


def test_runs_share_by_what_they_take_not_by_how_many_wait() -> None:
    """G3: a run with 1,000 waiting calls does not starve one with two."""
    world = World(
        limited_to(requests=60), SlidingWindowServer(60, 10**9, MINUTE), runs={"many": 1000, "two": 30}
    ).play(10 * MINUTE)
    shares = Counter(run for at, run, _ in world.sent if at > MINUTE)
    assert 0.8 <= shares["many"] / shares["two"] <= 1.25, shares


def test_two_calls_are_served_at_once_although_a_thousand_wait() -> None:
    """G3, in the small: their turn comes with the next room, not after the thousand."""
    limiter = limited_to(requests=60)
    for id in range(1000):
        limiter.enqueue("many", id, MODEL, input=10, max_output=10, now=0.0)
    assert len(limiter.admit(0.0).tickets) == 60
    for id in (1, 2):
        limiter.enqueue("two", id, MODEL, input=10, max_output=10, now=1.0)
    again = limiter.admit(1.0).again
    assert again is not None
    runs = [ticket.run for ticket in limiter.admit(again + 1e-9).tickets]
    assert runs.count("two") == 2 and len(runs) == 60


def test_shares_are_by_tokens() -> None:
    """G3: a run with large calls gets as many tokens as one with small ones, not as many calls."""
    limiter = limited_to(tokens=100_000)
    for id in range(1000):
        limiter.enqueue("large", id, MODEL, input=900, max_output=99, now=0.0)
        limiter.enqueue("small", id, MODEL, input=90, max_output=9, now=0.0)
    tickets = limiter.admit(0.0).tickets
    tokens = Counter()
    for ticket in tickets:
        tokens[ticket.run] += sum(ticket.cost)
    assert sum(tokens.values()) <= 100_000
    assert 0.9 <= tokens["large"] / tokens["small"] <= 1.1


def test_a_provider_s_limit_holds_for_its_models_together() -> None:
    """G3: a limit's key is a model and its provider; both apply, and other models go on."""
    limiter = Limiter({"openai": RateLimit(requests=10), "openai:a": RateLimit(requests=3)})
    for id in range(20):
        limiter.enqueue("r", id, "openai:a", input=1, max_output=1, now=0.0)
        limiter.enqueue("r", 100 + id, "openai:b", input=1, max_output=1, now=0.0)
        limiter.enqueue("r", 200 + id, "anthropic:c", input=1, max_output=1, now=0.0)
    sent = Counter(ticket.model for ticket in limiter.admit(0.0).tickets)
    assert sent == {"openai:a": 3, "openai:b": 7, "anthropic:c": 20}
    assert limiter.limited_keys() == {"openai", "openai:a"}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_limit_that_only_headers_tell(kind: str) -> None:
    """G3: learned from the first answer; from the second window on nothing is refused."""
    server = SERVERS[kind](60, 10_000)
    world = World(Limiter(), server, runs={"a": 20, "b": 20}, headers=True, free=True).play(15 * MINUTE)
    assert [at for at in world.refused if at > 2 * MINUTE] == []
    requests, used = world.rate(3 * MINUTE, 14 * MINUTE)
    assert max(requests / 60, used / 10_000) >= 0.9, (requests, used)


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("retry_after", [True, False], ids=["retry-after", "bare"])
def test_a_limit_that_only_refusals_tell(kind: str, retry_after: bool) -> None:
    """G3: nothing but 429s. Few of them, and most of the rate."""
    server = SERVERS[kind](60, 10**9)
    world = World(Limiter(), server, runs={"a": 20, "b": 20}, free=True, retry_after=retry_after).play(
        30 * MINUTE
    )
    late = [at for at in world.refused if at > 10 * MINUTE]
    assert len(late) <= 0.1 * len([1 for at, *_ in world.sent if at > 10 * MINUTE]), len(late)
    assert world.rate(10 * MINUTE, 29 * MINUTE)[0] >= 0.7 * 60


def test_a_bucket_that_allows_no_bursts() -> None:
    """ "A rate of 60 a minute may be enforced as 1 a second" ("Rate limits", Anthropic): learned from refusals."""
    world = World(
        limited_to(requests=60), TokenBucketServer(60, 10**9, MINUTE, burst=0.1), runs={"a": 40}
    ).play(20 * MINUTE)
    late = [at for at in world.refused if at > 5 * MINUTE]
    assert len(late) <= 10
    assert world.rate(5 * MINUTE, 19 * MINUTE)[0] >= 0.8 * 60


def test_somebody_else_uses_the_key_too() -> None:
    """G3: headers correct what our own log cannot know."""
    server = SlidingWindowServer(60, 10**9, MINUTE)
    world = World(limited_to(requests=60), server, runs={"a": 20}, headers=True)

    def other() -> None:
        server.take(world.now, 10)
        world.at(world.now + 2.0, other)

    world.at(0.0, other)
    world.play(15 * MINUTE)
    assert len([at for at in world.refused if at > 2 * MINUTE]) <= 0.05 * len(world.sent)
    assert world.rate(2 * MINUTE, 14 * MINUTE)[0] >= 0.75 * 30


def test_a_server_with_few_places_at_a_time() -> None:
    """G3, adaptive concurrency: 429 because too many are in flight, not too many a minute (Moonshot, Z.ai)."""

    class Places:
        requests = tokens = 10**9
        busy = 0

        def take(self, now: float, tokens: int) -> float | None:
            if self.busy >= 5:
                return 0.5
            self.busy += 1
            return None

    server = Places()
    world = World(Limiter(), server, runs={"a": 40}, free=True, latency=lambda dice: dice.uniform(1.0, 2.0))
    answered = world.answered

    def finished(*args: Any) -> None:
        server.busy -= 1
        answered(*args)

    world.answered = finished
    world.play(20 * MINUTE)
    ideal = 5 / 1.5 * MINUTE
    assert world.rate(5 * MINUTE, 19 * MINUTE)[0] >= 0.4 * ideal
    assert len([at for at in world.refused if at > 5 * MINUTE]) <= 0.35 * len(world.sent)


def test_a_refusal_pauses_everybody_until_the_server_wants() -> None:
    """P7: `Retry-After` holds for all runs."""
    limiter = limited_to(requests=1000)
    for run in "ab":
        limiter.enqueue(run, 1, MODEL, input=1, max_output=1, now=0.0)
    assert len(limiter.admit(0.0).tickets) == 2
    assert limiter.refused("a", 1, now=1.0, after=7.0)
    limiter.enqueue("b", 2, MODEL, input=1, max_output=1, now=2.0)
    admitted = limiter.admit(2.0)
    assert admitted.tickets == [] and admitted.again == 8.0
    (waiting,) = limiter.waiting(2.0)
    assert (waiting.seconds, waiting.reason) == (6.0, f"{MODEL} (the server asked for a pause)")
    limiter.settle("b", 1, used=Cost(1, 1), now=3.0)
    assert [t.run for t in limiter.admit(8.0).tickets] == ["b"]


def test_what_a_call_waits_for_is_said() -> None:
    """G3: for whom, how long, and which limit."""
    limiter = Limiter({"openai": RateLimit(requests=1), MODEL: RateLimit(concurrency=1)})
    for id in (1, 2):
        limiter.enqueue("a", id, MODEL, input=1, max_output=1, now=0.0)
    limiter.admit(0.0)
    (waiting,) = limiter.waiting(0.0)
    assert waiting.reason == f"{MODEL} (1 call in flight)" and waiting.seconds is None
    limiter.settle("a", 1, used=Cost(1, 1), now=20.0, ago=20.0)
    (waiting,) = limiter.waiting(20.0)
    assert waiting.reason == "openai (requests per minute)"
    assert waiting.seconds == pytest.approx(41.3, abs=0.2)


def test_larger_than_the_whole_limit() -> None:
    """Documented in the module: a guess that is too large goes alone, a prompt that is gets one clear error."""
    limiter = limited_to(tokens=1000)
    limiter.enqueue("a", 1, MODEL, input=10, max_output=100, now=0.0)
    limiter.enqueue("a", 2, MODEL, input=500, max_output=4000, now=0.0)
    limiter.enqueue("a", 3, MODEL, input=10, max_output=100, now=0.0)
    assert [t.id for t in limiter.admit(0.0).tickets] == [1]
    assert limiter.admit(30.0).tickets == []
    assert [t.id for t in limiter.admit(62.0).tickets] == [2], "alone, and before those behind it"
    assert limiter.admit(62.0).tickets == []
    with pytest.raises(
        ModelRefused, match=r"about 5,000 tokens is larger than openai:gpt-5-mini allows at all"
    ):
        limiter.enqueue("a", 4, MODEL, input=5000, max_output=1, now=0.0)
    assert not any(w.calls > 1 for w in limiter.waiting(62.0)), "nothing changed"


def test_a_wait_that_is_given_up_leaves_nothing() -> None:
    """G3: cancelled waits leave the queue, and a ticket that was not used counts for nothing."""
    limiter = limited_to(requests=2)
    for id in range(4):
        limiter.enqueue("a", id, MODEL, input=1, max_output=1, now=0.0)
    assert [t.id for t in limiter.admit(0.0).tickets] == [0, 1]
    limiter.cancel("a", 2, 0.0)
    limiter.cancel("a", 0, 0.0)
    assert [t.id for t in limiter.admit(0.0).tickets] == [3]
    assert not limiter.busy


def test_a_worker_that_dies_gives_its_places_back() -> None:
    """G3: what was in flight is not any more, what was used stays counted, nobody waits for the dead."""
    limiter = Limiter({MODEL: RateLimit(concurrency=2, requests=10)})
    for id in range(5):
        limiter.enqueue("dead", id, MODEL, input=1, max_output=1, now=0.0)
    limiter.admit(0.0)
    limiter.enqueue("alive", 1, MODEL, input=1, max_output=1, now=0.0)
    assert limiter.admit(0.0).tickets == []
    limiter.disconnect("dead", 1.0)
    assert [t.run for t in limiter.admit(1.0).tickets] == ["alive"]
    for id in range(2, 20):
        limiter.enqueue("alive", id, MODEL, input=1, max_output=1, now=1.0)
    for id in range(1, 9):
        limiter.settle("alive", id, used=Cost(1, 1), now=1.0)
        limiter.admit(1.0)
    (waiting,) = limiter.waiting(1.0)
    assert waiting.reason == f"{MODEL} (requests per minute)", "8 of ours and 2 of the dead worker's"


def test_a_new_orchestrator_is_told_what_went_on() -> None:
    """G3: it starts afresh; workers say what they did and what is under way."""
    limiter = Limiter({MODEL: RateLimit(requests=10)})
    limiter.adopt(
        "a", MODEL, past=[(5.0, (7, 70, 35, 35))], open=[(1, 2.0, 10, 10), (2, 1.0, 10, 10)], now=100.0
    )
    for id in range(10, 20):
        limiter.enqueue("a", id, MODEL, input=1, max_output=1, now=100.0)
    assert len(limiter.admit(100.0).tickets) == 1
    limiter.settle("a", 1, used=Cost(10, 10), now=101.0, ago=3.0)
    assert limiter.admit(101.0).again == pytest.approx(100 - 5 + 61.3, abs=0.2)


def test_asking_twice_is_asking_once() -> None:
    """A word that may have been lost is said again."""
    limiter = limited_to(requests=5)
    for _ in range(3):
        limiter.enqueue("a", 1, MODEL, input=1, max_output=1, now=0.0)
        assert len(limiter.admit(0.0).tickets) <= 1
    limiter.settle("a", 1, used=Cost(1, 1), now=0.0)
    limiter.settle("a", 1, used=Cost(1, 1), now=0.0)
    for id in range(2, 10):
        limiter.enqueue("a", id, MODEL, input=1, max_output=1, now=0.0)
    assert len(limiter.admit(0.0).tickets) == 4
