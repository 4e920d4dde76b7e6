"""The threshold of a cascade, learned from rows that both of its models answered. Pure.

The smallest confidence is looked for from which on the answers of the first model agree with those of the second at
least as often as the target asks, by the lower bound of the interval of Clopper and Pearson (1934). Thresholds of a
cheap model by a bound on a uniform sample: Kang et al., Approximate Selection with Guarantees using Proxies, VLDB 2020.
The interval is that at one threshold; that it was looked for among several is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from po_jupyter.evals.intervals import Interval, clopper_pearson


class LearnedThreshold(NamedTuple):
    """What a sample says. `threshold`: the confidence from which on the first model's answers count; None: at none.

    `sampled` rows were compared; of those, `sure` had at least that confidence, and `agreeing` among these agree. At
    no threshold `sure` and `agreeing` are those of all rows. `interval` is that of `agreeing` of `sure`.
    """

    threshold: float | None
    sampled: int
    sure: int
    agreeing: int
    interval: Interval | None


def learn_threshold(rows: Iterable[tuple[float | None, bool]], target: float) -> LearnedThreshold:
    """The threshold for rows of a sample, each its confidence and whether the two models agree.

    A confidence of None is below every threshold. `target` is the wanted agreement, between 0 and 1.
    """
    sample = list(rows)
    known = sorted(
        ((confidence, agrees) for confidence, agrees in sample if confidence is not None), reverse=True
    )
    found: LearnedThreshold | None = None
    sure = agreeing = 0
    for confidence, equal in groupby(known, key=lambda row: row[0]):
        agreements = [agrees for _, agrees in equal]  # rows of one confidence are on one side of a threshold
        sure, agreeing = sure + len(agreements), agreeing + sum(agreements)
        if (interval := clopper_pearson(agreeing, sure)).low >= target:
            found = LearnedThreshold(confidence, len(sample), sure, agreeing, interval)
    if found is not None:
        return found
    agreeing = sum(agrees for _, agrees in sample)
    whole = clopper_pearson(agreeing, len(sample)) if sample else None
    return LearnedThreshold(None, len(sample), len(sample), agreeing, whole)
