"""Cohen's kappa, against the values of scikit-learn's documentation and tests."""

import pytest

from po_jupyter.evals.kappa import cohen_kappa


def test_the_example_of_scikit_learns_documentation() -> None:
    """sklearn.metrics.cohen_kappa_score, "Examples": 0.6875."""
    a = ["negative", "positive", "negative", "neutral", "positive"]
    b = ["negative", "positive", "negative", "neutral", "negative"]
    found = cohen_kappa(zip(a, b, strict=True))
    assert (found.rows, found.same, found.observed) == (5, 4, 0.8)
    assert found.kappa == pytest.approx(0.6875)


@pytest.mark.parametrize(
    ("a", "b", "kappa"),
    [
        ([0] * 40 + [1] * 60, [0] * 20 + [1] * 20 + [0] * 10 + [1] * 50, 0.348),
        ([0] * 46 + [1] * 44 + [2] * 10, [0] * 50 + [1] * 40 + [2] * 10, 0.9315),
    ],
)
def test_the_values_of_scikit_learns_own_tests(a: list[int], b: list[int], kappa: float) -> None:
    """sklearn/metrics/tests/test_classification.py, test_cohen_kappa: to three and four digits."""
    found = cohen_kappa(zip(a, b, strict=True)).kappa
    assert found == pytest.approx(kappa, abs=5e-4)
    assert cohen_kappa(zip(b, a, strict=True)).kappa == found


def test_it_is_one_for_the_same_and_below_zero_for_the_opposite() -> None:
    assert cohen_kappa([("x", "x"), ("y", "y")]).kappa == 1.0
    assert cohen_kappa([("x", "y"), ("y", "x")]).kappa == -1.0
    assert cohen_kappa([("x", "x"), ("x", "y"), ("y", "x"), ("y", "y")]).kappa == 0.0


def test_where_chance_decides_all_there_is_no_kappa() -> None:
    """scikit-learn: nan."""
    assert cohen_kappa([]) == (0, 0, None)
    assert cohen_kappa([]).observed is None
    assert cohen_kappa([("x", "x")] * 3) == (3, 3, None)
