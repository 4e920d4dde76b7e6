"""The scores of many rows as one: means with intervals, confusion matrices, the worst rows. Rows come one by one, and
of each no more than its numbers is kept."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from po_jupyter.evals.confusion import ConfusionMatrix
from po_jupyter.evals.intervals import CONFIDENCE, Interval, rounded, t_interval, wilson
from po_jupyter.model.pipeline.evals.scores import ScoreColumn
from po_jupyter.model.run.scores import ConfusionTable, MeanScore, RowScores, ScoresOfTask

MOST_REASONS = 10
FAILED = "the row failed"
NOT_SCORED = "not scored"


@dataclass(slots=True)
class _Column:
    """The values of one score: their number, mean and squares (Welford's method), and why values are missing."""

    n: int = 0
    ones: int = 0
    mean: float = 0.0
    squares: float = 0.0
    is_binary: bool = True
    highest: float = -math.inf
    missing: Counter[str] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        self.n += 1
        self.ones += value == 1.0
        self.is_binary = self.is_binary and value in (0.0, 1.0)
        self.highest = max(self.highest, value)
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)

    def miss(self, reason: str) -> None:
        if reason not in self.missing and len(self.missing) >= MOST_REASONS:
            reason = "other reasons"
        self.missing[reason] += 1


class _Worst(NamedTuple):
    """The order of the heap: the row with the highest scores, of equal ones the last one, is the first to go."""

    height: float
    place: int
    row: int
    scores: RowScores


class ScoreSummary:
    """The scores of the rows of one task. `worst` rows are kept whole."""

    def __init__(self, columns: Sequence[ScoreColumn], worst: int = 10) -> None:
        """Without any row."""
        self._specs = list(columns)
        self._columns = {spec.name: _Column() for spec in columns}
        self._matrices = {spec.classes: ConfusionMatrix() for spec in columns if spec.classes is not None}
        self._most = worst
        self._worst: list[_Worst] = []
        self.rows = 0
        self.failed = 0

    def add(self, index: int, scores: RowScores | None) -> None:
        """Take in a row with an answer; `scores` None: it was not scored."""
        self.rows += 1
        values = scores["values"] if scores is not None else {}
        notes = scores.get("notes", {}) if scores is not None else {}
        for spec in self._specs:
            value = values.get(spec.name)
            if value is None or not math.isfinite(value):
                self._columns[spec.name].miss(notes.get(spec.name) or NOT_SCORED)
            else:
                self._columns[spec.name].add(value)
        if scores is None:
            return
        for name, (expected, answered) in scores.get("classes", {}).items():
            if name in self._matrices:
                self._matrices[name].add(expected, answered)
        self._keep_worst(index, scores)

    def add_failed(self) -> None:
        """Take in a row whose answer failed: it is missing in every score."""
        self.rows += 1
        self.failed += 1
        for column in self._columns.values():
            column.miss(FAILED)

    def _keep_worst(self, index: int, scores: RowScores) -> None:
        heights = [
            _height(spec, value)
            for spec in self._specs
            if (value := scores["values"].get(spec.name)) is not None
        ]
        if not self._most or not heights:
            return
        if self._is_right(scores) and all(spec.low is not None for spec in self._specs):
            return  # of a score without bounds the rows to come say where the top is
        height = math.fsum(height / len(heights) for height in heights)  # whose sum alone may be too large
        worst = _Worst(-height, -index, index, scores)
        if len(self._worst) < self._most:
            heapq.heappush(self._worst, worst)
        else:
            heapq.heappushpop(self._worst, worst)

    @property
    def worst(self) -> list[tuple[int, RowScores]]:
        """The rows with the lowest scores, the lowest first, of those that are not all right."""
        ordered = sorted(self._worst, key=lambda row: (row.height, row.place), reverse=True)
        return [(row.row, row.scores) for row in ordered if not self._is_right(row.scores)]

    def _is_right(self, scores: RowScores) -> bool:
        """Whether each score of a row is at its top: 1, or the highest value where that is more."""
        return all(
            _height(spec, value)
            >= (1.0 if spec.low is not None else max(1.0, self._columns[spec.name].highest))
            for spec in self._specs
            if (value := scores["values"].get(spec.name)) is not None
        )

    def result(self, task: str) -> ScoresOfTask:
        """The numbers; the worst rows without what was asked and answered."""
        return {
            "task": task,
            "rows": self.rows,
            "failed": self.failed,
            "confidence": CONFIDENCE,
            "scores": [self._mean(spec) for spec in self._specs if spec.metric != "confusion"],
            "confusion": [_table(name, matrix) for name, matrix in self._matrices.items() if matrix.n],
            "worst": [
                {"index": index, "values": self._shown(scores["values"]), "notes": scores.get("notes", {})}
                for index, scores in self.worst
            ],
        }

    def _shown(self, values: dict[str, float | None]) -> dict[str, float | None]:
        """The values of a row without those that only many rows have: its class is right or not."""
        whole = {spec.name for spec in self._specs if spec.metric in ("macro_f1", "confusion")}
        return {name: value for name, value in values.items() if name not in whole} or values

    def _mean(self, spec: ScoreColumn) -> MeanScore:
        column = self._columns[spec.name]
        mean: float | None = column.mean if column.n else None
        interval, method = _interval(spec, column) if column.n else (None, None)
        if spec.metric == "macro_f1" and spec.classes is not None and column.n:
            matrix = self._matrices[spec.classes]
            mean, interval, method = matrix.macro_f1(), matrix.macro_f1_interval(), "bootstrap"
        if mean is not None and not math.isfinite(mean):
            mean = None  # of numbers near the largest float, which have none
        if interval is not None and not all(map(math.isfinite, interval)):
            interval = None
        score: MeanScore = {
            "name": spec.name, "metric": spec.metric, "scored": column.n,
            "mean": None if mean is None else rounded(mean),
            "interval": None if interval is None else [rounded(end) for end in interval],
            "method": None if interval is None else method,
            "low": spec.low, "high": spec.high,
            "missing": dict(column.missing.most_common()),
        }  # fmt: skip
        if method == "wilson" and column.is_binary and is_proportion(spec):
            score["right"] = column.ones
        return score


def is_proportion(spec: ScoreColumn) -> bool:
    """Whether values that are all 0 or 1 are a proportion: on a scale from 1 to 5 they are not."""
    return spec.low is None or (spec.low, spec.high) == (0.0, 1.0)


def _interval(spec: ScoreColumn, column: _Column) -> tuple[Interval | None, str]:
    if column.is_binary and is_proportion(spec):
        return wilson(column.ones, column.n), "wilson"
    variance = column.squares / (column.n - 1) if column.n > 1 else 0.0
    if spec.low is None or spec.high is None:
        return (t_interval(column.mean, variance, column.n) if variance > 0 else None), "t"
    width = spec.high - spec.low
    if (
        variance > 1e-18 * width * width
        and (interval := t_interval(column.mean, variance, column.n)) is not None
    ):
        return Interval(max(spec.low, interval.low), min(spec.high, interval.high)), "t"
    # All values are alike, which says nothing of how they spread: no values between two bounds spread more than
    # those that are one bound or the other, and theirs is a proportion.
    part = min(1.0, max(0.0, (column.mean - spec.low) / width))
    low, high = wilson(part * column.n, column.n)
    return Interval(spec.low + low * width, spec.low + high * width), "wilson"


def _height(spec: ScoreColumn, value: float) -> float:
    """Where a value is between its bounds, from 0 to 1; the value itself where nobody knows them."""
    if spec.low is None or spec.high is None:
        return value
    return (value - spec.low) / (spec.high - spec.low)


def _table(name: str, matrix: ConfusionMatrix) -> ConfusionTable:
    return {
        "name": name, "labels": matrix.labels, "counts": matrix.rows(),
        "classes": [{**score} for score in matrix.classes()],
    }  # fmt: skip
