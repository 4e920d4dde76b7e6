"""The sliding window: an amount counts for at least its time, and at most one slot longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.llm.rate_limits.sliding_window import NOTHING, Cost, SlidingWindow

ONE = Cost(3, 4).amounts


def test_a_call_takes_one_request_and_its_tokens():
    assert ONE == (1, 7, 3, 4) and NOTHING == (0, 0, 0, 0)


@given(st.lists(st.floats(0, 200, allow_nan=False), max_size=40).map(sorted), st.floats(200, 400))
def test_the_sums_are_those_of_the_trailing_seconds(times, now):
    """Never shorter than `keep`: a server that counts exactly is never outrun."""
    window = SlidingWindow(60.0, slots=60)
    for at in times:
        window.add(at, ONE, now=at)
    window.expire(now)
    exact = sum(at > now - 60 for at in times)
    late = sum(at > now - 62 for at in times)
    assert exact <= window.sums[0] <= late
    assert window.sums[1] == 7 * window.sums[0]


def test_what_was_counted_can_be_taken_back_until_it_has_expired():
    window = SlidingWindow(10.0)
    window.add(1.0, ONE)
    window.add(1.0, ONE, -1)
    assert window.sums == [0, 0, 0, 0]
    window.add(1.0, ONE)
    window.expire(20.0)
    window.add(1.0, ONE, -1)
    assert window.sums == [0, 0, 0, 0], "it is past"


def test_when_room_will_be():
    window = SlidingWindow(10.0, slots=10)
    window.add(1.0, (1, 0, 0, 0))
    window.add(5.0, (2, 0, 0, 0))
    assert window.frees(0, 1) == 11.0 and window.frees(0, 2) == 15.0 and window.frees(0, 4) is None
    assert window.since(2.0) == [2, 0, 0, 0]


def test_rows_and_copies():
    window = SlidingWindow(10.0, slots=10)
    window.add(1.0, ONE)
    copy = window.copy(2.0)
    window.add(3.0, ONE)
    assert copy.sums == list(ONE) and list(copy.rows(3.0)) == [(2.0, ONE)]
    assert [ago for ago, _ in window.rows(3.0)] == pytest.approx([2.0, 0.0])
