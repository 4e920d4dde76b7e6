"""The limits of one key: from settings, headers and refusals (G3)."""

import pytest

from po_jupyter.llm.rate_limits.limit_state import Block, LimitState, Ticket, span
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.run.rate_limit import RateLimit

MINUTE = 60.0


def state(**limits):
    return LimitState("openai", RateLimit(**limits) if limits else None, window=MINUTE)


def start(key, id, at, cost=None, *, rated=False):
    ticket = Ticket("run", id, "openai:m", cost or Cost(1, 1), at, rated)
    key.start(ticket)
    return ticket


def test_nothing_is_limited_until_something_is_known():
    key = state()
    assert not key.limited and not key.rated and key.limits() == {}
    assert key.block(Cost(10**9, 10**9), 0.0) is None


def test_the_smallest_of_what_is_declared_counts():
    key = state(requests=100, tokens=5000)
    key.report({"requests": (60, None, None), "tokens": (9000, None, None)}, 0.0)
    assert key.limits() == {"requests": 60, "tokens": 5000}
    assert (key.declared("requests"), key.declared("output_tokens")) == (60, None)
    assert key.share((6, 1000, 0, 0)) == pytest.approx(0.2)


def test_use_that_others_made_counts_until_the_server_is_whole_again():
    key = state()
    key.report({"requests": (10, 4, 30.0)}, 0.0)  # six that are not ours
    for id in range(4):
        assert key.block(Cost(1, 1), 0.0) is None
        start(key, id, 0.0)
    block = key.block(Cost(1, 1), 0.0)
    assert block is not None and block.reason == "requests per minute"
    assert key.block(Cost(1, 1), 31.0) is None


def test_a_refusal_pauses_for_as_long_as_the_server_asks_and_halves_the_calls_in_flight():
    key = state()
    tickets = [start(key, id, 1.0) for id in range(8)]
    key.finish(tickets[0], None, 1.0, 2.0)
    assert key.refused(tickets[0], 7.0, 2.0)
    assert key.block(Cost(1, 1), 3.0) == Block(9.0, "the server asked for a pause", "openai")
    assert key.limits() == {"concurrency": 4}
    key.finish(tickets[1], None, 1.0, 2.5)
    assert not key.refused(tickets[1], None, 2.5), "it was admitted before: no news"
    block = key.block(Cost(1, 1), 10.0)
    assert block is not None and block.reason == "6 calls in flight"


def test_without_a_word_of_the_server_pauses_double():
    key, pauses = state(), []
    now = 0.0
    for id in range(3):
        ticket = start(key, id, now)
        key.finish(ticket, None, now, now + 1)
        key.refused(ticket, None, now + 1)
        block = key.block(Cost(1, 1), now + 1)
        pauses.append(round(block.until - (now + 1), 6))
        now = block.until + 1
    assert pauses == [1.0, 2.0, 4.0]


def test_a_known_rate_that_is_refused_was_a_tenth_too_high_and_comes_back():
    key = state(requests=100)
    ticket = start(key, 1, 1.0, rated=True)
    key.finish(ticket, None, 1.0, 2.0)
    key.refused(ticket, 1.0, 2.0)
    assert key.limit("requests") == 90
    later = start(key, 2, 40.0)
    key.finish(later, Cost(1, 1), 40.0, 41.0)
    key.succeeded(later, 41.0)
    assert key.limit("requests") == 91


def test_two_refusals_after_as_many_calls_are_the_rate():
    key, now = state(), 0.0
    for _ in range(2):
        tickets = [start(key, id, now + id * 0.01) for id in range(21)]
        for ticket in tickets[:20]:
            key.finish(ticket, Cost(1, 1), ticket.at, now + 1)
        key.finish(tickets[20], None, now, now + 1)
        key.refused(tickets[20], 1.0, now + 1)
        now += MINUTE * 1.1
    start(key, 99, now)
    assert key.estimate == 20


def test_a_window_for_people():
    assert span(60) == "per minute" and span(3.5) == "per 3.5 s"
