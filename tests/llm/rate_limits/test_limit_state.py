"""The limits of one key: from settings, headers and refusals (G3)."""

import pytest

from po_jupyter.llm.rate_limits.limit_state import Block, LimitState, Ticket, span
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.run.rate_limit import RateLimit

MINUTE = 60.0


def state(**limits):
    return LimitState("openai", RateLimit(**limits) if limits else None, window=MINUTE)


def start(key, id, at, cost=None):
    ticket = Ticket("run", id, "openai:m", cost or Cost(1, 1), at)
    key.start(ticket, learns=True)
    return ticket


def refuse(key, ticket, now, after=None):
    key.finish(ticket, None, ticket.at, now)
    return key.refused(ticket, after, now)


def answer(key, ticket, now):
    key.finish(ticket, Cost(1, 1), ticket.at, now)
    key.succeeded(ticket, now)


def test_nothing_is_limited_until_something_is_known():
    key = state()
    assert not key.limited and key.limits() == {}
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


def test_one_refusal_stops_nobody_and_keeps_the_calls_in_flight_as_they_are():
    key = state()
    tickets = [start(key, id, 1.0) for id in range(8)]
    answer(key, tickets[7], 1.5)
    assert not refuse(key, tickets[0], 2.0, 7.0)
    assert key.limits() == {"concurrency": 6}
    refuse(key, tickets[1], 2.1)
    assert key.limits() == {"concurrency": 5}
    block = key.block(Cost(1, 1), 2.2)
    assert block is not None and block.reason == "5 calls in flight"
    answer(key, tickets[2], 2.3)
    assert key.block(Cost(1, 1), 2.3) is None, (
        "a place is free, and nobody waits for another call's `Retry-After`"
    )


def test_a_server_that_takes_nothing_is_asked_less_and_less_often():
    key, pauses = state(), []
    now = 0.0
    for id in range(5):
        assert refuse(key, start(key, id, now), now + 1)
        block = key.block(Cost(1, 1), now + 1)
        pauses.append(round(block.until - (now + 1), 6))
        now = block.until + 1
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_refusal_under_a_limit_of_the_settings_is_about_it():
    key = state(requests=100)
    assert refuse(key, start(key, 1, 1.0), 2.0, 7.0)
    assert key.block(Cost(1, 1), 3.0) == Block(9.0, "the server asked for a pause", "openai")
    assert key.limit("requests") == 90, "it was a tenth too high"


def test_a_call_that_was_not_sent_teaches_nothing():
    key = state()
    ticket = start(key, 1, 0.0)
    key.finish(ticket, None, 0.0, 1.0)
    key.no_verdict(ticket)
    assert key.in_flight == 0 and not key.limited


def test_a_window_for_people():
    assert span(60) == "per minute" and span(3.5) == "per 3.5 s"
