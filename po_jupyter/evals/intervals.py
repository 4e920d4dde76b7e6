"""Intervals of proportions and means, computed with the standard library alone.

Proportions: Wilson's score interval (Wilson 1927) and that of Clopper and Pearson (1934), as
`scipy.stats.binomtest(...).proportion_ci` has them. Means: Student's t. The quantiles of t and of the beta distribution
come from the regularised incomplete beta function by its continued fraction (NIST DLMF 8.17.22), and bisection.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95
_STEPS = 200  # of a bisection: far more than a float has digits
_TINY = 1e-300
_RESAMPLES = 1000
SEED = 0  # of resampling: the same scores have the same interval


class Interval(NamedTuple):
    """An interval that has the true value with the confidence that was asked for."""

    low: float
    high: float


def rounded(value: float) -> float:
    """A value with twelve digits, which leaves out what binary fractions add; those of a small one too."""
    return float(f"{value:.12g}")


def wilson(right: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of `right` of `n`, without continuity correction. ValueError for no trial."""
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is no proportion")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, z2 = right / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == n else min(1.0, centre + half)
    return Interval(low, high)


def clopper_pearson(right: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The interval of Clopper and Pearson of `right` of `n`, which scipy calls `exact`. ValueError for no trial."""
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is no proportion")
    tail = (1 - confidence) / 2
    low = 0.0 if right == 0 else beta_quantile(tail, right, n - right + 1)
    high = 1.0 if right == n else beta_quantile(1 - tail, right + 1, n - right)
    return Interval(low, high)


def t_interval(mean: float, variance: float, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Student's interval of a mean; `variance` is that of the sample (n - 1). None for fewer than two values."""
    if n < 2:
        return None
    half = t_quantile((1 + confidence) / 2, n - 1) * math.sqrt(variance / n)
    return Interval(mean - half, mean + half)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float],
    confidence: float = CONFIDENCE,
    resamples: int = _RESAMPLES,
) -> Interval | None:
    """The percentile interval of a statistic by resampling (Efron 1979), with a fixed seed. None without values."""
    if not values:
        return None
    chance = random.Random(SEED)
    drawn = sorted(statistic(chance.choices(values, k=len(values))) for _ in range(resamples))
    return percentile_interval(drawn, confidence)


def percentile_interval(drawn: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The middle part of sorted values."""
    tail, last = (1 - confidence) / 2, len(drawn) - 1
    return Interval(drawn[math.floor(tail * last)], drawn[math.ceil((1 - tail) * last)])


# -- quantiles -----------------------------------------------------------------------------------------


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): the distribution function of beta(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction of the mirrored one converges faster
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return scale / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 + d1/(1 + d2/(1 + ...)), by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for i in range(1, 100_000):
        m = i // 2
        if i % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / ((1.0 + term * d) or _TINY)
        c = (1.0 + term / c) or _TINY
        value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def beta_quantile(p: float, a: float, b: float) -> float:
    """The value below which beta(a, b) is with probability `p`."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_quantile(p: float, degrees: int) -> float:
    """The quantile of Student's t for `p` of at least 1/2."""
    # P(|t| > x) = I_{degrees / (degrees + x²)}(degrees / 2, 1/2)
    y = beta_quantile(2 * (1 - p), degrees / 2, 0.5)
    return math.sqrt(degrees * (1 - y) / y)
