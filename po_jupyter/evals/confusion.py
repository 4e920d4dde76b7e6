"""Confusion matrices: how often an answer of one class was given where another was expected."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import TypedDict

from po_jupyter.evals.intervals import CONFIDENCE, SEED, Interval, percentile_interval

MOST_CLASSES = 50  # in a table
MOST_COUNTED = 300
OTHER, ANOTHER = "(other)", "(another)"  # all classes beyond those; of these another one than was expected
_MANY = (OTHER, ANOTHER)
_RESAMPLES, _FEWEST = 500, 50
_DRAWS = 1_000_000  # of counts, about: a second
_FEW = 30.0  # a mean from which on Poisson's distribution is drawn as a normal one


class ClassScore(TypedDict):
    """One class: rows that expect it, and precision, recall and F1 (0 where there is nothing to divide by)."""

    label: str
    expected: int
    answered: int
    precision: float
    recall: float
    f1: float


class ConfusionMatrix:
    """Counts by (expected, answered). `MOST_COUNTED` classes are told apart, of which a table shows `MOST_CLASSES`;
    further ones are one, and an answer of another one of these than was expected is `ANOTHER`."""

    def __init__(self) -> None:
        """Without any."""
        self._counts: Counter[tuple[str, str]] = Counter()
        self._known: set[str] = set()

    def add(self, expected: str, answered: str) -> None:
        """Count an answer."""
        for label in (expected, answered):
            if len(self._known) < MOST_COUNTED:
                self._known.add(label)
        self._counts[_cell(expected, answered, self._known)] += 1

    @property
    def n(self) -> int:
        """Answers so far."""
        return self._counts.total()

    @property
    def labels(self) -> list[str]:
        """The classes of a table: those that are expected most first, then those that are only answered."""
        return self._table()[0]

    def rows(self) -> list[list[int]]:
        """Counts in the order of `labels`: a row for each expected class, a column for each answered one."""
        labels, counts = self._table()
        return [[counts[expected, answered] for answered in labels] for expected in labels]

    def classes(self) -> list[ClassScore]:
        """Each class by itself, in the order of `labels`."""
        labels, counts = self._table()
        scores = class_scores(counts)
        return [scores[label] for label in labels]

    def _table(self) -> tuple[list[str], Counter[tuple[str, str]]]:
        """The classes that a table shows, and the counts among them."""
        expected, answered = Counter[str](), Counter[str]()
        for (wanted, given), count in self._counts.items():
            expected[wanted] += count
            answered[given] += count
        ordered = sorted(
            expected | answered, key=lambda one: (one in _MANY, -expected[one], -answered[one], one)
        )
        shown = {label for label in ordered[:MOST_CLASSES] if label not in _MANY}
        counts: Counter[tuple[str, str]] = Counter()
        for (wanted, given), count in self._counts.items():
            counts[_cell(wanted, given, shown)] += count
        used = {label for cell in counts for label in cell}
        return [label for label in [*(one for one in ordered if one in shown), *_MANY] if label in used], counts

    def accuracy(self) -> float:
        """The part that has the expected class; 0 without any."""
        right = sum(count for (expected, answered), count in self._counts.items() if expected == answered)
        return right / self.n if self.n else 0.0

    def macro_f1(self) -> float:
        """The mean of the F1 of all classes that are expected or answered, each as much as another."""
        return macro_f1(self._counts)

    def macro_f1_interval(self, confidence: float = CONFIDENCE) -> Interval | None:
        """Its percentile interval by Poisson's bootstrap (Hanley and MacGibbon 2006): each count is drawn anew, so
        that a matrix of any number of rows takes as long. The seed is fixed."""
        if self.n < 2:
            return None
        chance = random.Random(SEED)
        counts = sorted(self._counts.items())
        resamples = max(_FEWEST, min(_RESAMPLES, _DRAWS // len(counts)))
        drawn = [macro_f1({cell: _poisson(chance, count) for cell, count in counts}) for _ in range(resamples)]
        return percentile_interval(sorted(drawn), confidence)


def class_scores(counts: Mapping[tuple[str, str], float]) -> dict[str, ClassScore]:
    """Precision, recall and F1 of each class that is expected or answered."""
    expected, answered, right = Counter[str](), Counter[str](), Counter[str]()
    for (wanted, given), count in counts.items():
        expected[wanted] += int(count)
        answered[given] += int(count)
        right[wanted] += int(count) if wanted == given else 0
    return {
        label: {
            "label": label,
            "expected": expected[label],
            "answered": answered[label],
            "precision": _part(right[label], answered[label]),
            "recall": _part(right[label], expected[label]),
            "f1": _part(2 * right[label], expected[label] + answered[label]),
        }
        for label in dict.fromkeys([*expected, *answered])
    }


def macro_f1(counts: Mapping[tuple[str, str], float]) -> float:
    """The mean F1 of the classes in these counts; 0 without any."""
    return _mean(
        score["f1"] for score in class_scores(counts).values() if score["expected"] or score["answered"]
    )


def _cell(expected: str, answered: str, known: Container[str]) -> tuple[str, str]:
    """Where an answer is counted when only these classes are told apart."""
    if expected in known or answered in known or expected == answered:
        return expected if expected in known else OTHER, answered if answered in known else OTHER
    return OTHER, ANOTHER


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known) if known else 0.0


def _part(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > _FEW:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, drawn = math.exp(-mean), chance.random(), 0  # Knuth's method
    while product > limit:
        product *= chance.random()
        drawn += 1
    return drawn
