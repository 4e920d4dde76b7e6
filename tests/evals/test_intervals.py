"""Intervals, against scipy."""

from __future__ import annotations

import importlib
import random
from statistics import fmean, variance

import pytest

from po_jupyter.evals.intervals import (
    beta_quantile,
    bootstrap,
    clopper_pearson,
    incomplete_beta,
    t_interval,
    t_quantile,
    wilson,
)

stats = importlib.import_module("scipy.stats")  # it ships no types
CASES = [
    (k, n)
    for n in (1, 2, 3, 10, 50, 1000, 100_000)
    for k in sorted({0, 1, n // 3, n // 2, 4 * n // 5, n - 1, n})
]


@pytest.mark.parametrize(("right", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.95, 0.8, 0.99])
def test_proportions_have_scipys_intervals(right: int, n: int, confidence: float) -> None:
    test = stats.binomtest(right, n)
    for method, ours in (("wilson", wilson), ("exact", clopper_pearson)):
        theirs = test.proportion_ci(confidence, method)
        assert ours(right, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_forty_of_fifty() -> None:
    theirs = stats.binomtest(40, 50).proportion_ci(0.95, "wilson")
    assert wilson(40, 50) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert tuple(round(end, 4) for end in wilson(40, 50)) == (0.6696, 0.8876)


def test_all_right_and_all_wrong_are_not_certain() -> None:
    assert wilson(10, 10).high == 1.0 and wilson(10, 10).low < 0.75
    assert wilson(0, 10).low == 0.0 and wilson(0, 10).high > 0.25


@pytest.mark.parametrize(("right", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_what_is_no_proportion_has_no_interval(right: int, n: int) -> None:
    for method in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match="no proportion"):
            method(right, n)


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 49, 1000, 99_999])
@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.999])
def test_students_quantiles_are_scipys(degrees: int, p: float) -> None:
    assert t_quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-6)


def test_the_beta_distribution_is_scipys() -> None:
    for a, b in [(1, 1), (0.5, 0.5), (3, 200), (4e4, 1e4)]:
        for x in (0.0, 1e-6, 0.2, 0.5, 0.8, 1.0):
            assert incomplete_beta(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-10)
        assert beta_quantile(0.3, a, b) == pytest.approx(stats.beta.ppf(0.3, a, b), rel=1e-7)


def test_means_have_scipys_interval() -> None:
    values = [random.Random(1).random() for _ in range(30)]
    theirs = stats.t.interval(0.95, 29, fmean(values), stats.sem(values))
    assert t_interval(fmean(values), variance(values), 30) == pytest.approx(theirs)
    assert t_interval(1.0, 0.0, 1) is None


def test_resampling_says_the_same_each_time_and_about_what_t_says() -> None:
    values = [random.Random(2).random() for _ in range(200)]
    first, second = bootstrap(values, fmean), bootstrap(values, fmean)
    assert first is not None and first == second
    assert first == pytest.approx(t_interval(fmean(values), variance(values), 200), abs=0.01)
    assert bootstrap([], fmean) is None
