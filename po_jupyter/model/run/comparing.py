"""Comparisons of answers to the same rows, as they are shown: two runs beside each other, or variants of one map."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from po_jupyter.model.run.scores import MeanScore, ScoresOfTask


class PairedScore(TypedDict):
    """A score that A and B both have: each with its mean over those of its rows that the other one has too, and of the
    `rows` that both have scored how many are right (a score of 1) for `both`, for one of them only, for `neither`.
    `p` and its `method` are of McNemar's test, None where the score is not right or wrong, or no row has both."""

    name: str
    metric: str
    a: MeanScore
    b: MeanScore
    rows: int
    both: int | None
    a_only: int | None
    b_only: int | None
    neither: int | None
    p: float | None
    method: Literal["exact", "chi-square"] | None


class VariantSummary(TypedDict):
    """One variant of a map: of its `rows` those that are done and that failed, and what they cost. `cost_usd` is None
    when a price is unknown; `seconds` is the sum over its calls."""

    name: str
    rows: int
    done: int
    failed: int
    tokens: int
    cost_usd: float | None
    seconds: float
    models: list[str]
    scores: list[MeanScore]


class VariantPair(TypedDict):
    """Two variants: the share of rows that both answered alike (None where no row has both), and their scores."""

    a: str
    b: str
    agreement: float | None
    scores: list[PairedScore]


class VariantsOfTask(TypedDict):
    """The variants of a map beside each other, in the order of its definition. `rows`: of its list."""

    task: str
    rows: int
    variants: list[VariantSummary]
    pairs: list[VariantPair]


class ScoresWithVariants(ScoresOfTask):
    """The scores of a task; where it has variants, each score once for each of them, as `short: exact`, and in
    `variants` the same beside each other."""

    variants: NotRequired[VariantsOfTask]
