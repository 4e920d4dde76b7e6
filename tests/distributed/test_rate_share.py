from __future__ import annotations

import random
from collections import deque

from po_jupyter.distributed.rate_share import NONE, WHOLE, Part, RateShare
from po_jupyter.llm.rate_limits.limit_state import LimitState
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.run.rate_limit import RateLimit

WINDOW, TERM = 60.0, 5.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_node_without_company_has_all_at_once() -> None:
    share = RateShare("a", WINDOW, TERM, Clock())
    assert share.update(wants=True, asking=(), using=(), company=False) == WHOLE
    assert share.standing == "uses"


def test_who_does_not_ask_has_nothing_once_its_use_is_over() -> None:
    clock = Clock()
    share = RateShare("a", WINDOW, TERM, clock)
    share.update(wants=True, asking=(), using=(), company=False)
    clock.now += WINDOW
    assert share.update(wants=False, asking=(), using=(), company=False) == WHOLE
    clock.now += 2 * TERM
    assert share.update(wants=False, asking=(), using=(), company=False) == NONE
    assert share.standing == ""


def test_one_that_comes_anew_waits_until_what_others_used_is_over() -> None:
    clock = Clock()
    share = RateShare("b", WINDOW, TERM, clock)
    for _ in range(64):
        assert share.update(wants=True, asking=(), using=("a",), company=True) == NONE
        assert share.standing == "asks"
        clock.now += 1
    clock.now += 1
    assert share.update(wants=True, asking=(), using=("a",), company=True) == Part(1, 2)


def test_together_never_over_the_limit_and_most_of_it_used() -> None:
    """Four nodes come and go, and see each other late; each uses all that it may."""
    limit, seed = 100, random.Random(7)
    clock = Clock()
    clock.now = 0.0
    names = "abcd"
    shares = {name: RateShare(name, WINDOW, TERM, clock) for name in names}
    wants = dict.fromkeys(names, False)
    documents: deque[dict[str, str]] = deque(maxlen=4)  # what is read is up to so many steps old
    sent: deque[tuple[float, str]] = deque()
    window_of: dict[str, deque[float]] = {name: deque() for name in names}
    used_while_stable: list[int] = []
    stable = 0
    while clock.now < 3000:
        clock.now += 1.0
        if seed.random() < 0.01:
            name = seed.choice(names)
            wants[name] = not wants[name]
            stable = 0
        documents.append({name: shares[name].standing for name in names})
        for name in names:
            seen = seed.choice(documents)
            others = {other for other in names if other != name}
            part = shares[name].update(
                wants=wants[name],
                asking={other for other in others if seen[other] == "asks"},
                using={other for other in others if seen[other] == "uses"},
                company=True,
            )
            mine = window_of[name]
            while mine and mine[0] <= clock.now - WINDOW:
                mine.popleft()
            may = limit // part.of + (part.rank < limit % part.of) if part.of else 0
            while wants[name] and len(mine) < may:
                mine.append(clock.now)
                sent.append((clock.now, name))
        while sent and sent[0][0] <= clock.now - WINDOW:
            sent.popleft()
        assert len(sent) <= limit
        stable += 1
        if stable > 3 * WINDOW and any(wants.values()):
            used_while_stable.append(len(sent))
    assert used_while_stable
    assert min(used_while_stable) >= 0.9 * limit


def test_parts_of_a_limit_make_the_whole() -> None:
    def allowed(rank: int, of: int) -> int:
        state = LimitState("m", RateLimit(requests=10), window=WINDOW)
        state.set_part(rank, of)
        count = 0
        while state.block(Cost(1, 1), 0.0) is None and count < 100:
            state.count(0.0, (1, 2, 1, 1))
            count += 1
        return count

    assert [allowed(rank, 3) for rank in range(3)] == [4, 3, 3]
    assert allowed(3, 3) == 3
    assert allowed(0, 0) == 0
    assert allowed(0, 1) == 10
    assert [allowed(rank, 12) for rank in (0, 11)] == [1, 0]


def test_a_prompt_is_measured_by_the_whole_limit() -> None:
    state = LimitState("m", RateLimit(tokens=1000), window=WINDOW)
    state.set_part(0, 4)
    assert state.declared("tokens") == 1000
