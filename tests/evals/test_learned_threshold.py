"""The threshold of a cascade, against scipy and by its properties."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.evals.learned_threshold import learn_threshold

stats = importlib.import_module("scipy.stats")  # it ships no types
Row = tuple[float | None, bool]
ROWS = st.lists(st.tuples(st.none() | st.sampled_from([n / 10 for n in range(11)]), st.booleans()), max_size=60)
TARGETS = st.sampled_from([0.3, 0.5, 0.8])


def scipys(rows: list[Row], threshold: float) -> Any:
    sure = [agrees for confidence, agrees in rows if confidence is not None and confidence >= threshold]
    return stats.binomtest(sum(sure), len(sure)).proportion_ci(0.95, "exact")


@settings(max_examples=60, deadline=None)
@given(ROWS, TARGETS)
def test_it_is_the_smallest_confidence_whose_lower_bound_does(rows: list[Row], target: float) -> None:
    candidates = sorted({confidence for confidence, _ in rows if confidence is not None})
    expected = next((c for c in candidates if scipys(rows, c).low >= target), None)
    learned = learn_threshold(rows, target)
    assert learned.threshold == expected
    assert learned.sampled == len(rows)
    if expected is not None and learned.interval is not None:
        interval = scipys(rows, expected)
        assert tuple(learned.interval) == pytest.approx((interval.low, interval.high), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_a_higher_target_has_no_lower_threshold_and_order_means_nothing(rows: list[Row], chance: Any) -> None:
    lower, higher = learn_threshold(rows, 0.4), learn_threshold(rows, 0.7)
    assert higher.threshold is None or (lower.threshold is not None and lower.threshold <= higher.threshold)
    chance.shuffle(rows)
    assert learn_threshold(rows, 0.4) == lower


@settings(max_examples=60, deadline=None)
@given(ROWS, TARGETS)
def test_an_unknown_confidence_is_sure_at_no_threshold(rows: list[Row], target: float) -> None:
    known = [row for row in rows if row[0] is not None]
    learned = learn_threshold(rows, target)
    assert learned.threshold == learn_threshold(known, target).threshold
    if learned.threshold is not None:
        assert learned.sure <= len(known)


def test_rows_of_one_confidence_stay_together() -> None:
    rows: list[Row] = [(0.9, True)] * 20 + [(0.9, False)] * 20
    assert learn_threshold(rows, 0.8).threshold is None


def test_where_nothing_does_the_agreement_of_all_rows_is_said() -> None:
    learned = learn_threshold([(0.9, True), (0.5, False), (None, True)], 0.95)
    assert learned[:4] == (None, 3, 3, 2)
    assert learned.interval == pytest.approx(tuple(stats.binomtest(2, 3).proportion_ci(0.95, "exact")))
    assert learn_threshold([], 0.95) == (None, 0, 0, 0, None)
