"""The tally of a vote: majority, median, ties, when to stop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.votes.tally import Tally
from po_jupyter.errors import OutputInvalid
from po_jupyter.model.pipeline.votes import Votes, agreement


def count(votes: Votes, answers: list[Any]) -> tuple[Any, float, int]:
    """The result, its agreement, and how many were asked for; an Exception is a vote that came to nothing."""
    tally = Tally(votes)
    while more := tally.more():
        for place in range(tally.asked, tally.asked + more):
            answer = answers[place]
            if isinstance(answer, OutputInvalid):
                tally.spoil(place, answer)
            else:
                tally.cast(place, answer)
    if tally.failure is not None:
        raise tally.failure
    output, votes_ = tally.result()
    return output, agreement(votes_), votes_["asked"]


def test_bug_bug_question_is_bug_by_two_thirds() -> None:
    """Issue 13, done when 1."""
    assert count(Votes(n=3), ["bug", "bug", "question"]) == ("bug", 2 / 3, 3)
    assert count(Votes(n=3, stop_early=True), ["bug", "bug", "question"]) == ("bug", 2 / 3, 2)


@pytest.mark.parametrize(
    ("votes", "answers", "expected"),
    [
        (Votes(n=4), ["a", "b", "b", "a"], ("b", 0.5, 4)),  # a tie: the one that had two first
        (Votes(n=2), ["a", "b"], ("a", 0.5, 2)),
        (Votes(n=4, stop_early=True), ["a", "a", "b", "b"], ("a", 0.5, 2)),
        (Votes(n=5, stop_early=True), ["a", "b", "a", "b", "b"], ("b", 0.6, 5)),
        (Votes(n=5, stop_early=True), ["a", "b", "c", "d", "e"], ("a", 0.2, 5)),
        (Votes(n=5, agree=2), ["a", "a", "b", "b", "b"], ("a", 0.4, 2)),
        (Votes(n=5, agree=5), ["a", "a", "a", "b", "b"], ("a", 0.6, 5)),
        (Votes(n=5, agree=4), ["a", "a", "b", "b", "a"], ("a", 0.6, 5)),
        (Votes(n=3), [{"x": 1, "y": 2}, {"y": 2.0, "x": 1.0}, {"x": 2}], ({"x": 1, "y": 2}, 2 / 3, 3)),
        (Votes(n=3, on="l"), [{"l": "b", "y": 1}, {"l": "q"}, {"l": "b", "y": 2}], ({"l": "b", "y": 1}, 2 / 3, 3)),
        (Votes(n=3), ["bug\n", " bug", "q"], ("bug\n", 2 / 3, 3)),
        (Votes(n=3), [True, 1, True], (True, 2 / 3, 3)),
        (Votes(n=3), [7, 1, 100], (7, 1 / 3, 3)),
        (Votes(n=4), [1, 2, 3, 4], (2, 0.25, 4)),
        (Votes(n=5, stop_early=True), [3, 3, 3, 9, 9], (3, 0.6, 3)),
        (Votes(n=4, stop_early=True), [3, 3, 9, 9], (3, 0.5, 4)),
        (Votes(n=5, agree=2), [1, 1, 9, 9, 9], (1, 0.4, 2)),
        (Votes(n=3, on="s"), [{"s": 1}, {"s": 5}, {"s": 3}], ({"s": 3}, 1 / 3, 3)),
        (Votes(n=3), [{"s": 1}, {"s": 5}, {"s": 3}], ({"s": 3}, 1 / 3, 3)),  # it was the first one
        (Votes(n=4), [{"s": 9}, {"s": 1.0}, {"s": 1}, {"s": 9}], ({"s": 1.0}, 0.5, 4)),
        (Votes(n=3), [{"s": 1}, {"t": 5}, {"t": 3}], ({"s": 1}, 1 / 3, 3)),
        (Votes(n=3), [{"s": 1}, {"s": True}, {"s": True}], ({"s": True}, 2 / 3, 3)),
        (Votes(n=3, on="l"), [{"l": "q"}, {"l": "b "}, {"l": "b"}], ({"l": "b "}, 2 / 3, 3)),
        (Votes(n=3), [None, None, "a"], (None, 2 / 3, 3)),
    ],
)  # fmt: skip
def test_what_counts(votes: Votes, answers: list[Any], expected: tuple[Any, float, int]) -> None:
    assert count(votes, answers) == expected


def test_a_vote_without_an_answer_is_for_nothing() -> None:
    bad = OutputInvalid("no")
    assert count(Votes(n=3), ["a", bad, "a"]) == ("a", 2 / 3, 3)
    assert count(Votes(n=3, stop_early=True), [bad, "a", "b"]) == ("a", 1 / 3, 2)
    assert count(Votes(n=5, stop_early=True), [bad, "a", "b", "b", "a"]) == ("b", 0.4, 4)


def test_half_of_the_votes_without_an_answer_is_no_result() -> None:
    with pytest.raises(OutputInvalid):
        count(Votes(n=4), ["a", OutputInvalid("no"), OutputInvalid("no"), "a"])


@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    ),
)
def test_stopping_early_changes_no_result(case: tuple[int, list[str]]) -> None:
    n, answers = case
    whole, early = count(Votes(n=n), answers), count(Votes(n=n, stop_early=True), answers)
    assert early[0] == whole[0]
    assert Votes(n=n, stop_early=True).fewest <= early[2] <= n
    assert early[1] <= whole[1]


@given(st.integers(2, 9).flatmap(lambda n: st.lists(st.integers(0, 3), min_size=n, max_size=n)))
def test_stopping_early_changes_no_median(answers: list[int]) -> None:
    n = len(answers)
    assert count(Votes(n=n, stop_early=True), answers)[0] == count(Votes(n=n), answers)[0]


@given(st.integers(2, 9).flatmap(lambda n: st.lists(st.sampled_from("abc"), min_size=n, max_size=n)))
def test_no_vote_is_asked_for_that_changes_nothing(answers: list[str]) -> None:
    """As late as possible, and not one later: of what was asked for, the last vote was needed."""
    n = len(answers)
    asked = count(Votes(n=n, stop_early=True), answers)[2]
    winners = set()
    for rest in ("a", "b", "c"):
        winners.add(count(Votes(n=n), [*answers[: asked - 1], *[rest] * (n - asked + 1)])[0])
    assert len(winners) > 1 or asked == Votes(n=n, stop_early=True).fewest
