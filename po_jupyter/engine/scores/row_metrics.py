"""Metrics of the rows of a task: what is expected of a row, and what each metric says of its answer. No model is
asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from po_jupyter.engine.prompts.condition import ExpectedValue
from po_jupyter.engine.scores.python_scorers import PythonScorer, call_scorer, load_scorer
from po_jupyter.errors import PoError
from po_jupyter.evals.intervals import rounded
from po_jupyter.evals.metrics import (
    NO_GOLD,
    Measured,
    MetricOptions,
    in_kind_of,
    is_missing,
    measure,
    same,
    sole_value,
)
from po_jupyter.evals.texts import plain_text
from po_jupyter.model.pipeline.evals.scores import (
    BUILT_IN,
    JUDGE,
    ScoreColumn,
    Scorer,
    score_columns,
)
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonValue

_NOTE = 300  # characters of a note
_LABEL = 80  # of a class
_DIGEST = 6  # hex digits, of a longer one


class Expected(NamedTuple):
    """What is expected of a row; `problem`: why nobody knows it."""

    value: JsonValue
    problem: str = ""


class RowMetrics:
    """The metrics of all scorers of a task, compiled once.

    `names` are those that the expressions use; `is_slow`: code of a package or a pattern is run, so call it in a
    thread.
    """

    def __init__(self, task: str, scorers: Sequence[Scorer], places: Sequence[str]) -> None:
        """`places` say where each scorer stands. Raises TemplateFailed, and InvalidInput for a scorer that is not
        there."""
        self.scorers = tuple(scorers)
        self.columns = score_columns(self.scorers)
        self._expressions = [
            None if scorer.expect is None else ExpectedValue(scorer.expect, task=task, field=f"{place}.expect")
            for scorer, place in zip(scorers, places, strict=True)
        ]
        self._python: dict[str, PythonScorer] = {
            name: load_scorer(name) for scorer in scorers for name in scorer.python
        }
        self.names = frozenset(name for e in self._expressions if e is not None for name in e.names)
        self.is_slow = bool(self._python) or any("regex" in scorer.metrics for scorer in scorers)

    def expected(self, number: int, names: Mapping[str, JsonValue]) -> Expected:
        """What scorer `number` expects of a row. `names` are what its expression sees."""
        expression = self._expressions[number]
        if expression is None:
            return Expected(None)
        try:
            value = expression.value_or_none(names)
        except PoError as error:
            return Expected(None, error.message[:_NOTE])
        return Expected(value, NO_GOLD if is_missing(value) else "")

    def measure(self, names: Mapping[str, JsonValue], output: JsonValue) -> RowScores:
        """The scores of an answer; those of judges are left out."""
        scores: RowScores = {"values": {}}
        for number, scorer in enumerate(self.scorers):
            columns = [c for c in self.columns if c.scorer == number and c.metric != JUDGE]
            if columns:
                expected = self.expected(number, {**names, "output": output})
                self._add(scores, scorer, columns, expected, part_of(output, scorer.on), names.get("item"))
        return scores

    def _add(
        self,
        scores: RowScores,
        scorer: Scorer,
        columns: Sequence[ScoreColumn],
        expected: Expected,
        answer: JsonValue,
        item: JsonValue,
    ) -> None:
        options = MetricOptions(scorer.tolerance or 0.0, scorer.relative or 0.0, scorer.pattern)
        value = answer if scorer.on else sole_value(answer, expected.value)
        for column in columns:
            scored = value if column.metric in BUILT_IN else answer
            measured = self._measured(column.metric, scored, expected, item, options)
            if column.metric != "confusion" or len(columns) == 1:
                put(
                    scores, column.name, measured
                )  # else it says of a row what another metric of its class says
            if column.classes is not None and measured.value is not None:
                scores.setdefault("classes", {})[column.classes] = _classes(expected.value, value)

    def _measured(
        self, metric: str, answer: JsonValue, expected: Expected, item: JsonValue, options: MetricOptions
    ) -> Measured:
        if metric not in BUILT_IN:
            if expected.problem:
                return Measured(None, expected.problem)
            return call_scorer(self._python[metric], answer, expected.value, item)
        if expected.problem and expected.problem != NO_GOLD:
            return Measured(None, expected.problem)
        return measure(metric, answer, expected.value, options)


def put(scores: RowScores, name: str, measured: Measured) -> None:
    """Put a score and its note among those of a row."""
    scores["values"][name] = None if measured.value is None else rounded(measured.value)
    if measured.note:
        scores.setdefault("notes", {})[name] = measured.note[:_NOTE]


def part_of(output: JsonValue, field: str | None) -> JsonValue:
    """The part of an answer that is scored; None where it has no such field."""
    if field is None:
        return output
    return output.get(field) if isinstance(output, Mapping) else None


def _classes(expected: JsonValue, answer: JsonValue) -> list[str]:
    """The expected and the answered class. The same ones have one name, however they are written."""
    if isinstance(expected, list) and not isinstance(answer, list):
        right = next((one for one in expected if same(answer, one)), None)
        expected = right if right is not None else next((one for one in expected if not is_missing(one)), None)
    label = _label(in_kind_of(answer, expected))
    return [label, label if same(answer, expected) else _label(in_kind_of(expected, answer))]


def _label(value: JsonValue) -> str:
    text = plain_text(value) if value is not None else "(nothing)"
    if len(text) > _LABEL:  # others begin alike, and are other classes
        text = f"{text[: _LABEL - _DIGEST - 1]}…{short_digest(text, _DIGEST)}"
    return text or "(empty)"
