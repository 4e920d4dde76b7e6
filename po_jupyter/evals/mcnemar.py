"""McNemar's test: whether two ways to answer the same rows are right equally often (McNemar 1947).

Only the rows that one of them has right and the other wrong say anything about that. Where they are fewer than 25 the
test is the exact binomial one, as `scipy.stats.binomtest(a_only, a_only + b_only)` has it, else the chi-square with
Edwards' continuity correction (1948), as `statsmodels.stats.contingency_tables.mcnemar(exact=False)` and R have it.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

EXACT_BELOW = 25  # rows that only one of the two has right


class McNemar(NamedTuple):
    """`p` is the chance of a difference as large as this one, or larger, between two that are equally good."""

    p: float
    method: Literal["exact", "chi-square"]


def mcnemar(a_only: int, b_only: int) -> McNemar:
    """The test of two counts: rows that only the first has right, and that only the second has. ValueError below 0."""
    if a_only < 0 or b_only < 0:
        raise ValueError(f"{a_only} and {b_only} are no counts of rows")
    n = a_only + b_only
    if n < EXACT_BELOW:
        tail = sum(math.comb(n, k) for k in range(min(a_only, b_only) + 1))
        return McNemar(min(1.0, 2 * tail / 2**n), "exact")
    statistic = max(0, abs(a_only - b_only) - 1) ** 2 / n
    return McNemar(math.erfc(math.sqrt(statistic / 2)), "chi-square")  # of one degree of freedom
