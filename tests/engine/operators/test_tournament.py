"""`top_k` by pairs: few comparisons, a definite order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.engine.operators.result_rows import SourceRows
from po_jupyter.engine.operators.tournament import Match, PairsPlan, Tournament


def play(n: int, k: int, better: Callable[[int, int], bool]) -> tuple[list[int], list[Match]]:
    tournament, played = Tournament(n, k), []
    while matches := tournament.matches():
        for match in matches:
            tournament.record(match, match.left if better(match.left, match.right) else match.right)
        played += matches
        tournament.settle()
    return tournament.ranking, played


@settings(max_examples=200)
@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12))
def test_the_best_come_out_with_no_more_comparisons_than_promised(values: list[int], k: int) -> None:
    ranking, played = play(len(values), k, lambda a, b: values[a] >= values[b])
    assert [values[i] for i in ranking] == sorted(values, reverse=True)[:k]
    assert len(set(ranking)) == len(ranking)
    assert len(played) <= Tournament.most_matches(len(values), k)
    assert len(set(played)) == len(played), "no two rows are compared twice"
    assert all(match.left < match.right for match in played)


@given(st.integers(0, 30), st.integers(1, 40), st.randoms(use_true_random=False))
def test_it_ends_whatever_the_answers_are(n: int, k: int, random: Any) -> None:
    """A model may prefer a to b, b to c and c to a."""
    ranking, played = play(n, k, lambda a, b: random.random() < 0.5)
    assert len(ranking) == len(set(ranking)) == min(n, k)
    assert len(played) <= Tournament.most_matches(n, k)


def test_where_all_are_equal_the_order_is_that_of_the_rows() -> None:
    assert play(7, 7, lambda a, b: True)[0] == list(range(7))


def test_matches_of_a_level_are_played_together() -> None:
    tournament = Tournament(8, 1)
    assert tournament.matches() == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_ten_thousand_rows_take_seconds() -> None:
    ranking, played = play(10_000, 10, lambda a, b: a >= b)
    assert ranking == list(range(9_999, 9_989, -1))
    assert len(played) <= 10_000 - 1 + 9 * 14


def test_a_comparison_that_failed_is_won_by_the_earlier_row() -> None:
    plan = PairsPlan(SourceRows(["a", "b"], "rows", [4, 2]), 1)
    assert plan.next_items([]) == [{"left": "a", "right": "b"}]
    outcomes = [{"ok": False, "output": None, "error": {}}]
    assert plan.next_items(outcomes) == []
    result = plan.result(outcomes)
    assert (result.values, result.places, result.columns) == (["a"], [4], {"rank": [1]})


def test_an_answer_that_says_nothing_of_it_leaves_the_earlier_row_the_better() -> None:
    """The schema is the user's own, and may leave `better` out."""
    for output in ({}, {"better": None}, None, "right", []):
        plan, outcomes = PairsPlan(SourceRows(["a", "b", "c"]), 1), []
        while more := plan.next_items(outcomes):
            outcomes += [{"ok": True, "output": output, "error": None}] * len(more)
        assert plan.result(outcomes).values == ["a"]
