"""Scores: how good the answers of a task are, by metrics against what is expected, by a model that judges, by
Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from po_jupyter.model.pipeline.llm_settings import LLM, one_or_several
from po_jupyter.model.pipeline.patterns import unusable
from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import OF_LIST, OF_TEXT, did_you_mean
from po_jupyter.model.values.json import JsonObject

# Metrics that are 0 or 1, metrics in between, and those of classes, by which a confusion matrix is drawn.
RIGHT_OR_WRONG = ("exact", "squad_exact", "contains", "number", "regex")
IN_PARTS = ("f1", "fields")
OF_CLASSES = ("accuracy", "macro_f1", "confusion")
VALUE = "value"
BUILT_IN = (*RIGHT_OR_WRONG, *IN_PARTS, *OF_CLASSES, VALUE)
JUDGE = "judge"
JUDGE_TOKENS = 200  # of a judge's answer: a score, and why, in one sentence
CLASSES = "classes"
MOST_SCORERS = 20

MetricName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=100)]
ScoreName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]
WholeNumber = Annotated[int, Field(ge=-1000, le=1000, strict=True)]


class Scorer(Value):
    """One way to score answers. `expect` is an expression over the row, `on` the field of the answer that is looked at.

    With `metrics` the answer is compared with what is expected (`exact` where nothing is said); a metric that is not
    built in is a Python function by its entry point of the group `po_jupyter.scorers`. With `judge` a model is asked,
    with the settings `llm`, for a whole number of `scale` and its reason.
    """

    name: ScoreName | None = Field(
        default=None, description="What the score is called; needed where two are alike."
    )
    expect: str | None = Field(
        default=None, description="An expression that gives what is expected, such as `{{ item.gold }}`."
    )
    metrics: Annotated[tuple[MetricName, ...], Field(max_length=MOST_SCORERS)] = Field(
        default=(),
        description=f"What is measured: {', '.join(BUILT_IN)}, or a scorer of a package. Not set: exact.",
    )
    on: str | None = Field(
        default=None, description="The field of the answer that is scored. Not set: the whole answer."
    )
    tolerance: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="How far a `number` may be from the expected one."
    )
    relative: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The same as a part of the expected number: 0.01 is one percent."
    )
    pattern: str | None = Field(
        default=None, description="The regular expression of `regex`; not set: what is expected is one."
    )
    judge: str | None = Field(
        default=None,
        description="What a model is asked about each answer: a template that sees `item`, `output` and `expected`.",
    )
    llm: LLM = Field(default=LLM(), description="Model settings of the judge; what is left out is the task's.")
    scale: tuple[WholeNumber, WholeNumber] = Field(
        default=(0, 1), description="The lowest and the highest number that the judge may give."
    )

    @model_validator(mode="before")
    @classmethod
    def _expectation_alone(cls, data: Any) -> Any:
        return {"expect": data} if isinstance(data, str) else data

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_metric(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _goes_together(self) -> Scorer:
        if problem := _problem(self):
            raise ValueError(problem)
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics, `exact` where neither metrics nor a judge are named."""
        return self.metrics or (() if self.judge is not None else ("exact",))

    @property
    def python(self) -> tuple[str, ...]:
        """The metrics that are not built in: entry points."""
        return tuple(metric for metric in self.metrics if metric not in BUILT_IN)


def _problem(scorer: Scorer) -> str | None:
    """Why the fields of a scorer do not go together."""
    if scorer.judge is not None and scorer.metrics:
        return "a score has `metrics` or a `judge`; write two scores for both"
    if scorer.judge is None and (scorer.llm != LLM() or scorer.scale != (0, 1)):
        return "`llm` and `scale` are those of a `judge`, and there is none"
    if scorer.scale[0] >= scorer.scale[1]:
        return f"`scale` goes from {scorer.scale[0]} to {scorer.scale[1]}; write the lower number first"
    if ("number" not in scorer.metrics) and (scorer.tolerance, scorer.relative) != (None, None):
        return "`tolerance` and `relative` are those of the metric `number`, which is not among `metrics`"
    if scorer.pattern is not None and "regex" not in scorer.metrics:
        return "`pattern` is that of the metric `regex`, which is not among `metrics`"
    if scorer.pattern is not None and (reason := unusable(scorer.pattern)) is not None:
        return f"the pattern {scorer.pattern!r:.80} cannot be used: {reason}"
    return _expectation_problem(scorer)


def _expectation_problem(scorer: Scorer) -> str | None:
    """Why what is expected does not go with what is measured."""
    if len(set(scorer.metrics)) < len(scorer.metrics):
        return "a metric stands twice in `metrics`"
    if scorer.expect is not None or scorer.judge is not None:
        return None
    for metric in scorer.measured:
        free = metric == VALUE or (metric == "regex" and scorer.pattern is not None)
        if metric in BUILT_IN and not free:
            return f'`{metric}` needs `expect`, what is expected: for example expect: "{{{{ item.gold }}}}"'
    return None


# `score: {...}` or a list of them; the tags are left out of the places of errors, as those of `llm` are.
ScoreChoice = Annotated[
    Annotated[Scorer, Tag(OF_TEXT)]
    | Annotated[tuple[Scorer, ...], Field(min_length=1, max_length=MOST_SCORERS), Tag(OF_LIST)],
    Discriminator(one_or_several),
]


def judge_llm(scorer: Scorer, pipeline: LLM) -> LLM:
    """The model settings of a judge: its own, those of its pipeline filled in. A limit of tokens that was set for short
    answers, labels for example, leaves a judge the room for its reason."""
    llm = scorer.llm.over(pipeline)
    if scorer.llm.max_tokens is not None or llm.max_tokens is None or llm.max_tokens >= JUDGE_TOKENS:
        return llm
    return llm.model_copy(update={"max_tokens": JUDGE_TOKENS})


class ScoreColumn(NamedTuple):
    """One number of each row: the score called `name` is what `metric` says, by the scorer of that number. `low` and
    `high` are the bounds of its values, None where nobody knows them; `classes` names the confusion matrix of it."""

    name: str
    scorer: int
    metric: str
    low: float | None
    high: float | None
    classes: str | None = None


def score_columns(scorers: tuple[Scorer, ...]) -> list[ScoreColumn]:
    """The columns of all scorers, in order."""
    return [column for number, scorer in enumerate(scorers) for column in _columns(number, scorer)]


def _columns(number: int, scorer: Scorer) -> Iterator[ScoreColumn]:
    if scorer.judge is not None:
        low, high = scorer.scale
        yield ScoreColumn(scorer.name or JUDGE, number, JUDGE, low, high)
        return
    for metric in scorer.measured:
        name = metric if scorer.name is None else scorer.name
        if scorer.name is not None and len(scorer.measured) > 1:
            name = f"{scorer.name}_{metric}"
        bounded = metric in BUILT_IN and metric != VALUE
        classes = (scorer.name or CLASSES) if metric in OF_CLASSES else None
        yield ScoreColumn(name, number, metric, 0.0 if bounded else None, 1.0 if bounded else None, classes)


def scores_problem(scorers: tuple[Scorer, ...], output: JsonObject | None, mode: str | None) -> str | None:
    """Why a task with that `output` and `mode` cannot have these scores; None when it can."""
    seen: set[str] = set()
    for column in score_columns(scorers):
        if column.name in seen:
            return f"two scores are called {column.name!r}; give each a `name`"
        seen.add(column.name)
    matrices = [scorer.name or CLASSES for scorer in scorers if set(scorer.metrics) & set(OF_CLASSES)]
    if len(set(matrices)) < len(matrices):
        return "two scores have classes; give each a `name`"
    for scorer in scorers:
        if scorer.judge is not None and mode == "batch":
            return "a `judge` and `mode: batch` do not go together; judge the answers afterwards: po score RUN --judge"
        if problem := _field_problem(scorer.on, output):
            return problem
    return None


def _field_problem(on: str | None, output: JsonObject | None) -> str | None:
    if on is None or output is None:
        return (
            None if on is None else f"`on` of a score is {on!r}, and an answer without `output` has no fields"
        )
    fields = output.get("properties")
    if isinstance(fields, Mapping) and fields and on not in fields:
        return f"`on` of a score is {on!r}, which is not a field of `output`{did_you_mean(on, list(fields))}"
    return None
