"""Confusion matrices: accuracy and F1 of classes, at any number of rows."""

from __future__ import annotations

import time
from itertools import product

import pytest

from po_jupyter.evals.confusion import ANOTHER, MOST_CLASSES, OTHER, ConfusionMatrix


def matrix(pairs: list[tuple[str, str]]) -> ConfusionMatrix:
    made = ConfusionMatrix()
    for expected, answered in pairs:
        made.add(expected, answered)
    return made


def test_counts_and_classes() -> None:
    """The values are those of scikit-learn's `classification_report` of the same labels."""
    made = matrix(
        [("bug", "bug")] * 3
        + [("bug", "wish")]
        + [("wish", "bug")] * 2
        + [("wish", "wish")] * 4
        + [("ask", "bug")]
    )
    assert made.labels == ["wish", "bug", "ask"]
    assert made.rows() == [[4, 2, 0], [1, 3, 0], [0, 1, 0]]
    wish, bug, ask = made.classes()
    assert (wish["precision"], wish["recall"], wish["f1"]) == pytest.approx((0.8, 4 / 6, 8 / 11))
    assert (bug["precision"], bug["recall"], bug["f1"]) == pytest.approx((0.5, 0.75, 0.6))
    assert (ask["precision"], ask["recall"], ask["f1"], ask["expected"], ask["answered"]) == (0, 0, 0, 1, 0)
    assert made.accuracy() == pytest.approx(7 / 11)
    assert made.macro_f1() == pytest.approx((8 / 11 + 0.6) / 3)


def test_the_interval_of_macro_f1_is_the_same_each_time_and_around_it() -> None:
    made = matrix([("a", "a"), ("b", "b"), ("a", "b"), ("b", "b")] * 20)
    interval = made.macro_f1_interval()
    assert interval is not None and interval == made.macro_f1_interval()
    assert interval.low < made.macro_f1() < interval.high


def test_nothing_is_no_matrix() -> None:
    assert (matrix([]).n, matrix([]).accuracy(), matrix([]).macro_f1(), matrix([]).macro_f1_interval()) == (
        0,
        0,
        0,
        None,
    )


def test_very_many_classes_are_kept_apart_up_to_a_bound() -> None:
    made = matrix([(f"c{i}", f"c{i % 7}") for i in range(1000)])
    assert len(made.labels) == MOST_CLASSES + 1 and made.labels[-1] == OTHER
    assert made.n == 1000


def test_fifty_classes_over_a_million_rows_take_seconds() -> None:
    made = matrix([])
    for a, b in product(range(50), repeat=2):
        made._counts[f"c{a}", f"c{b}"] = 400
    began = time.process_time()
    assert made.macro_f1_interval() is not None
    assert time.process_time() - began < 10


def test_classes_beyond_what_a_table_shows_are_not_one_class() -> None:
    """With 60 classes, all of them wrong, nothing is right: not what two classes without a line of their own share."""
    made = matrix([(f"c{i}", f"c{(i + 1) % 60}") for i in range(60)])
    assert (made.accuracy(), made.macro_f1()) == (0, 0)
    right = matrix([(f"c{i}", f"c{i}") for i in range(60)])
    assert (right.accuracy(), right.macro_f1()) == (1, 1)
    assert (
        sum(map(sum, made.rows())) == 60
        and made.labels[-2:] == [OTHER, ANOTHER]
        and len(made.classes()) == MOST_CLASSES + 2
    )
