"""Cohen's kappa: how far two who labelled the same rows agree, beyond what chance would have them agree.

J. Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20 (1960), 37-46.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Agreement(NamedTuple):
    """How far two agree over `rows` that both labelled, `same` of them alike. `kappa` is None where chance alone would
    have them agree: there is no row, or both gave every row the same label."""

    rows: int
    same: int
    kappa: float | None

    @property
    def observed(self) -> float | None:
        """The part of the rows that both labelled alike."""
        return self.same / self.rows if self.rows else None


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]]) -> Agreement:
    """The agreement of two over their labels of the same rows, one pair for each row."""
    counts = Counter(pairs)
    rows = counts.total()
    same = sum(count for (a, b), count in counts.items() if a == b)
    first: Counter[Hashable] = Counter()
    second: Counter[Hashable] = Counter()
    for (a, b), count in counts.items():
        first[a] += count
        second[b] += count
    # In whole numbers, so that agreement by chance alone is exactly that: (rows·same - chance) / (rows² - chance).
    chance = sum(count * second[label] for label, count in first.items())
    beyond = rows * rows - chance
    return Agreement(rows, same, (rows * same - chance) / beyond if beyond else None)
