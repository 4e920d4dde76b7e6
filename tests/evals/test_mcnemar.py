"""McNemar's test beside scipy's, and beside values that others published."""

from __future__ import annotations

import pytest

from po_jupyter.evals.mcnemar import EXACT_BELOW, mcnemar


@pytest.mark.parametrize(
    ("a", "b"), [(0, 0), (1, 0), (0, 5), (1, 6), (4, 4), (10, 2), (12, 12), (7, 17), (24, 0)]
)
def test_few_rows_are_judged_by_the_exact_test(a: int, b: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    p, method = mcnemar(a, b)
    assert method == "exact"
    assert p == pytest.approx(stats.binomtest(a, a + b).pvalue if a + b else 1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b"), [(25, 0), (15, 10), (13, 12), (20, 20), (86, 150), (300, 310), (3000, 3100)]
)
def test_many_rows_are_judged_by_the_chi_square_with_correction(a: int, b: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    p, method = mcnemar(a, b)
    assert method == "chi-square" and a + b >= EXACT_BELOW
    assert p == pytest.approx(stats.chi2.sf(max(0, abs(a - b) - 1) ** 2 / (a + b), 1), rel=1e-9)


def test_values_that_others_published() -> None:
    """statsmodels' test_mcnemar has this table with the result of R and SAS: chi-square 20.672, p 5.450e-6."""
    assert mcnemar(121, 59).p == pytest.approx(5.450095e-06, rel=1e-4)
    assert mcnemar(59, 121) == mcnemar(121, 59)


def test_a_count_below_zero_is_none() -> None:
    with pytest.raises(ValueError, match="no counts of rows"):
        mcnemar(-1, 3)
