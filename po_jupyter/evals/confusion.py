"""Confusion matrices: how often an answer of one class was given where another was expected."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypedDict

from po_jupyter.evals.intervals import CONFIDENCE, SEED, Interval, percentile_interval

MOST_CLASSES = 50
OTHER = "(other)"  # all classes beyond those
_RESAMPLES = 500
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
    """Counts by (expected, answered); at most `MOST_CLASSES` classes, further ones are one."""

    def __init__(self) -> None:
        """Without any."""
        self._counts: Counter[tuple[str, str]] = Counter()
        self._labels: dict[str, None] = {}

    def add(self, expected: str, answered: str) -> None:
        """Count an answer."""
        self._counts[self._known(expected), self._known(answered)] += 1

    def _known(self, label: str) -> str:
        if label not in self._labels:
            if len(self._labels) >= MOST_CLASSES:
                self._labels[OTHER] = None
                return OTHER
            self._labels[label] = None
        return label

    @property
    def n(self) -> int:
        """Answers so far."""
        return self._counts.total()

    @property
    def labels(self) -> list[str]:
        """The classes: those that are expected most first, then those that are only answered."""
        expected = Counter[str]()
        for (label, _), count in self._counts.items():
            expected[label] += count
        return sorted(self._labels, key=lambda label: (label == OTHER, -expected[label], label))

    def rows(self) -> list[list[int]]:
        """Counts in the order of `labels`: a row for each expected class, a column for each answered one."""
        labels = self.labels
        return [[self._counts[expected, answered] for answered in labels] for expected in labels]

    def classes(self) -> list[ClassScore]:
        """Each class by itself, in the order of `labels`."""
        scores = class_scores(self._counts)
        return [scores[label] for label in self.labels]

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
        drawn = [macro_f1({cell: _poisson(chance, count) for cell, count in counts}) for _ in range(_RESAMPLES)]
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
