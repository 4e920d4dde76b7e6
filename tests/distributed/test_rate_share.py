"""Rate limits over nodes: shares by need, together never over the limit, and most of it used."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.distributed.rate_share import DOCUMENT, NodeDemand, RateShare, divide
from po_jupyter.llm.rate_limits.limit_state import LimitState
from po_jupyter.llm.rate_limits.limiter import Limiter
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.run.rate_limit import RateLimit

WINDOW, TERM = 60.0, 5.0
ITEM = "openai", "requests"

claims = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 1200)).map(lambda c: NodeDemand(max(c), min(c))),
    min_size=1, max_size=8,
)  # fmt: skip


@given(st.integers(0, 1000), claims)
def test_parts_are_never_more_than_the_limit_and_all_of_it_where_it_is_needed(
    limit: int, wanted: list[NodeDemand]
) -> None:
    wanted = [NodeDemand(min(limit, c.needs), min(limit, c.next)) for c in wanted]
    parts = divide(limit, wanted)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= limit
    if sum(c.needs for c in wanted) >= limit:
        assert sum(parts) == limit
    first = next((i for i, c in enumerate(wanted) if c.next), None)
    if first is not None:
        assert parts[first] >= wanted[first].next, "whose turn it is can send one call, however large"


@given(st.integers(100, 1000), st.lists(st.integers(0, 2000), min_size=1, max_size=5))
def test_who_needs_more_has_no_less_and_who_needs_little_has_it(limit: int, needs: list[int]) -> None:
    parts = divide(limit, [NodeDemand(min(limit, n), min(1, n)) for n in needs])
    idle = limit // 50
    for need, part in zip(needs, parts, strict=True):
        assert part >= min(need, limit // len(needs)) - idle
        assert part >= 1, "an idle node too"
    for a, b in itertools.pairwise(needs):
        if a > b:
            assert parts[needs.index(a)] >= parts[needs.index(b)] - 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Document:
    """The store: one document."""

    value: Mapping[str, Any] | None = None

    def get(self, kind: str, name: str) -> Any:
        assert (kind, name) == DOCUMENT
        return copy.deepcopy(self.value)

    def swap(self, kind: str, name: str, before: Any, after: Any) -> bool:
        if before != self.value:
            return False
        self.value = copy.deepcopy(after)
        return True


class FakeNode:
    """A limiter and its share, on a clock of the test. `cost` is of each call."""

    def __init__(
        self, token: str, limits: Mapping[str, RateLimit], clock: Clock, window: float = WINDOW
    ) -> None:
        self.token, self.clock = token, clock
        self.limiter = Limiter(limits, window=window)
        self.limiter.set_shares({})
        self.share = RateShare(token, limits, window, TERM, clock)
        self.until = float("inf")
        self.ids = 0
        self.stands_still = False

    def demands(self) -> Any:
        return self.limiter.demands(self.clock.now)

    def set_shares(self, shares: Any, until: float) -> None:
        self.until = until
        self.limiter.set_shares(shares)

    def call(self, tokens: int = 10) -> None:
        self.ids += 1
        self.limiter.enqueue("r", self.ids, "openai:m", input=1, max_output=tokens, now=self.clock.now)

    def admit(self) -> list[int]:
        """The tokens of the calls that go out now."""
        if self.clock.now >= self.until:
            self.set_shares({}, float("inf"))
        found = []
        for ticket in self.limiter.admit(self.clock.now).tickets:
            used = ticket.cost
            found.append(used.input + used.output)
            self.limiter.settle("r", ticket.id, used=used, now=self.clock.now)
        return found

    def plan_and_write(self, document: Document, alive: set[str], dice: random.Random) -> None:
        """A look, as `RateShare.step` does it; another node's may come between, and the answer may be lost."""
        seen = document.get(*DOCUMENT)
        plan = self.share.plan(seen, self.demands(), alive)
        self.set_shares(plan.now, self.clock.now + TERM)
        if plan.document is not None and dice.random() < 0.9:
            swapped = document.swap(*DOCUMENT, seen, plan.document)
            if swapped and dice.random() < 0.95:
                self.set_shares(plan.then, self.clock.now + TERM)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_uneven_and_moving_load_uses_the_limit_and_never_more(seed: int) -> None:
    """Three nodes; all load is at one, then at another, then uneven at all: >= 90 % in every minute that follows the
    first, and never more than the limit in any trailing minute."""
    limit, dice, clock = 200, random.Random(seed), Clock()
    document = Document()
    nodes = [FakeNode(name, {"openai": RateLimit(requests=limit)}, clock) for name in "abc"]
    alive = {node.token for node in nodes}
    sent: list[float] = []
    weights = [1.0, 0.0, 0.0]
    for step in range(1, 8 * 60 * 4):
        clock.now += 0.25
        if step % 240 == 0:
            weights = dice.choice([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.7, 0.3, 0], [0.1, 0.1, 0.8]])
            for node in nodes:  # the load has moved: those that wait are elsewhere now
                for id in [key[1] for key in node.limiter._queued]:
                    node.limiter.cancel("r", id, clock.now)
        for node, weight in zip(nodes, weights, strict=True):
            while weight and len(node.limiter._queued) < 300 * weight:
                node.call()
            if step % 2:
                node.plan_and_write(document, alive, dice)
            sent += [clock.now] * len(node.admit())
        last = [at for at in sent if at > clock.now - WINDOW]
        assert len(last) <= limit, (step, weights)
        if step > 480 and step % 240 == 239:
            assert len(last) >= 0.9 * limit, (step, weights)


@pytest.mark.parametrize("minutes", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_never_over_the_limit_while_nodes_die_stand_still_and_come_anew(minutes: int) -> None:
    limit, dice, clock = 60, random.Random(5), Clock()
    limits = {"openai": RateLimit(requests=limit, tokens=2000)}
    document = Document()
    nodes = {name: FakeNode(name, limits, clock) for name in "abc"}
    last_sign = dict.fromkeys(nodes, clock.now)
    sent: list[tuple[float, int]] = []
    number = 0
    for step in range(1, minutes * 60 * 4):
        clock.now += 0.25
        for name, node in list(nodes.items()):
            if dice.random() < 0.002:  # it dies, and another one comes
                del nodes[name]
                number += 1
                nodes[f"n{number}"] = FakeNode(f"n{number}", limits, clock)
                last_sign[f"n{number}"] = clock.now
                continue
            if dice.random() < 0.003:
                node.stands_still = not node.stands_still
            if node.stands_still:
                node.stands_still = dice.random() > 0.01
                continue
            if dice.random() < 0.5 and len(node.limiter._queued) < 50:
                node.call(dice.choice([1, 10, 100, 1500]))
            sent += [(clock.now, tokens) for tokens in node.admit()]  # before it has looked: it stood still
            if step % 2:
                last_sign[name] = clock.now
                alive = {other for other, at in last_sign.items() if clock.now - at <= TERM}
                node.plan_and_write(document, alive, dice)
            sent += [(clock.now, tokens) for tokens in node.admit()]
        sent = [(at, tokens) for at, tokens in sent if at > clock.now - WINDOW]
        assert len(sent) <= limit
        assert sum(tokens for _, tokens in sent) <= 2000
    assert len(document.value["entries"]) < 20 if document.value else False


def test_calls_as_large_as_the_limit_have_their_turn_on_each_node() -> None:
    """A call cannot be divided: nodes that each need nearly all of a limit send one after the other."""
    clock, dice, document = Clock(), random.Random(1), Document()
    limits = {"openai": RateLimit(tokens=1000)}
    nodes = [FakeNode(name, limits, clock) for name in "abc"]
    alive = {node.token for node in nodes}
    sent = {node.token: 0 for node in nodes}
    for _ in range(4 * 60 * 7):
        clock.now += 0.25
        for node in nodes:
            while len(node.limiter._queued) < 3:
                node.call(900)
            node.plan_and_write(document, alive, dice)
            sent[node.token] += len(node.admit())
    assert min(sent.values()) >= 1
    assert sum(sent.values()) >= 5


def test_a_call_larger_than_the_share_waits_for_a_larger_share() -> None:
    state = LimitState("m", RateLimit(tokens=1000), window=WINDOW)
    state.set_share({"tokens": 300})
    assert state.block(Cost(500, 0), 0.0) is not None
    assert state.block(Cost(200, 0), 0.0) is None
    state.set_share({"tokens": 1000})
    assert state.block(Cost(1200, 0), 0.0) is None, "one larger than the whole limit goes alone"


def test_a_prompt_is_measured_by_the_whole_limit() -> None:
    state = LimitState("m", RateLimit(tokens=1000), window=WINDOW)
    state.set_share({"tokens": 250})
    assert state.declared("tokens") == 1000


async def test_nothing_is_used_by_a_node_that_the_others_do_not_know() -> None:
    clock, document = Clock(), Document()
    node = FakeNode("a", {"openai": RateLimit(requests=10)}, clock)
    node.call()
    await node.share.step(node, document, asyncio.to_thread, {"b"}, clock.now + TERM)  # type: ignore[arg-type]
    assert not node.admit()
    await node.share.step(node, document, asyncio.to_thread, {"a"}, clock.now + TERM)  # type: ignore[arg-type]
    assert len(node.admit()) == 1
    node.call()
    clock.now += TERM
    assert not node.admit(), "it stood still for a term: the others take it for gone"
