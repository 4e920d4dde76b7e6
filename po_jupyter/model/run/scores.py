"""Scores as they are recorded and shown: those of a row in its outcome, and what they come to over all rows."""

from __future__ import annotations

from typing import NamedTuple, NotRequired, TypedDict

from po_jupyter.model.values.json import JsonObject, JsonValue


class RowScores(TypedDict):
    """The scores of one answer. `values` by name, None: missing; `notes`: why it is, or the reason of a judge;
    `classes`: the expected and the answered class, by confusion matrix."""

    values: dict[str, float | None]
    notes: NotRequired[dict[str, str]]
    classes: NotRequired[dict[str, list[str]]]


class MeanScore(TypedDict):
    """A score over the rows of a map: the mean of the `scored` ones, with the interval that has the true mean with
    95 % confidence. `right`: how many are 1, where each is 0 or 1. `mean` is None without any, `interval` where it
    cannot be told; `method` says how it was made: `wilson`, `t` or `bootstrap`. `missing`: why rows have none, and how
    many of them."""

    name: str
    metric: str
    scored: int
    mean: float | None
    interval: list[float] | None
    method: str | None
    right: NotRequired[int]
    low: float | None
    high: float | None
    missing: dict[str, int]


class ConfusionTable(TypedDict):
    """How often each class was answered where another was expected: `counts[expected][answered]` in the order of
    `labels`; `classes`: `{label, expected, answered, precision, recall, f1}` each."""

    name: str
    labels: list[str]
    counts: list[list[int]]
    classes: list[JsonObject]


class WorstRow(TypedDict):
    """A row with low scores. Long values are cut. Of a map with variants it has the `variant` that answered, and its
    number in the list as `row`."""

    index: int
    variant: NotRequired[str]
    row: NotRequired[int]
    values: dict[str, float | None]
    notes: dict[str, str]
    input: NotRequired[JsonValue]
    output: NotRequired[JsonValue]


class ScoresOfTask(TypedDict):
    """The scores of a map, or of a task without rows. `rows`: with an outcome, of which `failed` have no answer to
    score; `confidence` is that of the intervals."""

    task: str
    rows: int
    failed: int
    confidence: float
    scores: list[MeanScore]
    confusion: list[ConfusionTable]
    worst: list[WorstRow]


class ScoredRow(TypedDict):
    """The scores of one recorded answer."""

    index: int
    scores: RowScores


class ExpectedAnswer(TypedDict):
    """What the `scores` of these names expect of a row; `problem`: why nobody knows it, else None."""

    scores: list[str]
    value: JsonValue
    problem: str | None


class ScoreQuery(NamedTuple):
    """What is asked of recorded answers: the map `task` of a run, and the field `score` as a task has it. `judge_run`
    judged them before: then its scores are among them, and nothing is asked of a judge."""

    run: str
    owner: str | None
    task: str
    score: object
    judge_run: str | None = None
