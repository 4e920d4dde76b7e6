"""Metrics of one answer, against what people write in a column of gold: other types, unicode, lists, nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from po_jupyter.evals.metrics import METRICS, NO_GOLD, MetricOptions, measure, same
from po_jupyter.model.pipeline.evals.scores import BUILT_IN


def test_every_metric_that_a_pipeline_may_name_is_there() -> None:
    assert set(METRICS) == set(BUILT_IN)


@pytest.mark.parametrize(
    ("metric", "answer", "expected", "value"),
    [
        ("exact", "bug", "bug", 1), ("exact", "Bug", "bug", 0), ("exact", " bug\n", "bug", 1),
        ("exact", 1, "1", 1), ("exact", "1", 1, 1), ("exact", "1.0", 1, 1), ("exact", 1.0, 1, 1), ("exact", "01", 1, 1),
        ("exact", True, "True", 1), ("exact", "false", False, 1), ("exact", True, 1, 0), ("exact", None, "x", 0),
        ("exact", {"a": 1, "b": 2}, {"b": 2, "a": 1.0}, 1), ("exact", {"a": 1}, '{"a": 1}', 1),
        ("exact", [1, "2"], ["1", 2], 1), ("exact", [1, 2], [2, 1], 0), ("exact", "", "x", 0),
        ("exact", "e\u0301", "\u00e9", 1), ("exact", "a\nb", "a\nb", 1), ("exact", "bug", ["bug", "question"], 1),
        ("exact", "wish", ["bug", "question"], 0), ("exact", "wish", ["bug", None, "wish"], 1),
        ("squad_exact", "The  Eiffel-Tower!", "eiffeltower", 1), ("squad_exact", "a cat", "cat", 1),
        ("squad_exact", "Straße", "strasse", 0), ("squad_exact", "ÀB", "àb", 1), ("squad_exact", 1, "1.", 1),
        ("f1", "the cat sat", "cat", 2 / 3), ("f1", "dog", "cat", 0), ("f1", "", "cat", 0), ("f1", "a", "the", 1),
        ("f1", ["a b", "c"], ["C", "d"], 0.5), ("f1", "cat", ["dog", "cat sat"], 2 / 3),
        ("contains", "It is a BUG,\nreally", "bug", 1), ("contains", "Straße", "STRASSE", 1),
        ("squad_exact", 1.5, 15, 0), ("squad_exact", -5, "5", 0), ("squad_exact", "-5", "5", 1),
        ("f1", 1.5, 15, 0), ("f1", "1,234", 1234, 1), ("f1", 5, "5 apples", 2 / 3), ("f1", True, "true", 1),
        ("f1", [1.5, -1], [15, 1], 0), ("f1", ["1.5", 2], [1.5, "2.0"], 1), ("f1", [{"a": 1.5}], [{"a": 15}], 0),
        ("f1", [{"a": "The X"}, [1]], [[1.0], {"a": "x"}], 1),
        ("contains", "x", "bug", 0), ("contains", ["Bug"], "bug", 1), ("contains", ["bugs"], "bug", 0),
        ("contains", ["bug", "ui"], "ui", 1), ("contains", {"label": "bug"}, "bug", 1), ("contains", 42, 2, 1),
        ("number", "1,234.50", 1234.5, 1), ("number", 3, "3", 1), ("number", "three", 3, 0), ("number", None, 3, 0),
        ("number", True, 1, 0), ("number", math.inf, 3, 0), ("number", "nan", 3, 0), ("number", 0.1 + 0.2, 0.3, 0),
        ("regex", "ticket AB-123", r"[A-Z]{2}-\d+", 1), ("regex", "ab", "^b", 0), ("regex", 12, r"^\d+$", 1),
        ("fields", {"a": 1, "b": "x"}, {"a": "1", "b": "y"}, 0.5), ("fields", '{"a": 1}', '{"a": 1}', 1),
        ("fields", "no", {"a": 1}, 0), ("fields", {"a": 1, "z": 9}, {"a": 1}, 1), ("fields", {}, {"a": None}, 0),
        ("accuracy", "bug", "bug", 1), ("value", "3.5", None, 3.5), ("value", True, None, 1), ("value", 2, "x", 2),
    ],
)  # fmt: skip
def test_a_metric_gives(metric: str, answer: Any, expected: Any, value: float) -> None:
    assert measure(metric, answer, expected).value == pytest.approx(value)


@pytest.mark.parametrize("expected", [None, "", "  \n", math.nan])
@pytest.mark.parametrize("metric", ["exact", "f1", "contains", "number", "fields", "accuracy"])
def test_without_gold_a_score_is_missing(metric: str, expected: Any) -> None:
    assert measure(metric, "bug", expected) == (type(measure(metric, "x", None))(None, NO_GOLD))


@pytest.mark.parametrize(
    ("metric", "answer", "expected", "note"),
    [
        ("number", 3, "three", "what is expected is no number: three"), ("fields", {}, "x", "is no object: x"),
        ("fields", {"a": 1}, {}, "without fields"), ("regex", "x", "(", "cannot be used"),
        ("value", "x", None, "the answer is no number"), ("exact", "x", [None, ""], NO_GOLD),
        ("regex", "a" * 40 + "!", r"^(a|aa)+$", "was given up"), ("value", math.nan, None, "no number"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_missing_and_says_why(
    metric: str, answer: Any, expected: Any, note: str
) -> None:
    measured = measure(metric, answer, expected)
    assert measured.value is None and note in measured.note


@pytest.mark.parametrize(
    ("answer", "options", "value"),
    [
        (10.1, MetricOptions(tolerance=0.1), 1), (10.11, MetricOptions(tolerance=0.1), 0),
        (10.5, MetricOptions(relative=0.05), 1),
        (9.5, MetricOptions(relative=0.05), 1), (10.51, MetricOptions(relative=0.05), 0), (0.3, MetricOptions(), 0),
        (10.2, MetricOptions(tolerance=0.2, relative=0.001), 1),
    ],
)  # fmt: skip
def test_a_number_may_be_off_by_its_tolerance(answer: float, options: MetricOptions, value: float) -> None:
    assert measure("number", answer, 10, options).value == value


def test_a_pattern_of_the_scorer_needs_no_gold() -> None:
    assert measure("regex", "AB-1", None, MetricOptions(pattern=r"^[A-Z]+-\d$")).value == 1


def test_equal_values_are_equal_both_ways() -> None:
    values: list[Any] = [1, "1", 1.0, True, "true", None, "", [1], "[1]", {"a": 1}, '{"a": 1}', "é", 0]
    assert all(same(a, b) == same(b, a) for a in values for b in values)
    assert all(same(a, a) for a in values)


def test_the_number_of_a_row_is_not_rounded_before_it_is_compared() -> None:
    """Ids are longer than a float is exact."""
    assert same("12345678901234567", 12345678901234567) and not same("12345678901234567", 12345678901234568)
    assert same("1e3", 1000) and same("1,000", 1000) and same("0.1", 0.1)


def test_answers_that_are_nested_very_deeply_are_measured_or_not_but_never_an_error() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert measure("exact", deep, deep).value in (None, 1.0)
