"""Shapes of answers about one run: rows as a table, comparisons, calls of models."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from po_jupyter.model.run.comparing import PairedScore
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject


class TableRowJson(TypedDict):
    """A row of a map as a table has it. A value that is cut is the beginning of its text, and `clipped` is true then;
    `client.inspection.row` has it whole. `state`: `done`, `failed`, `running` or `pending`."""

    index: int
    state: str
    input: Any
    output: Any
    error: JsonObject | None
    attempts: int
    tokens: int
    cost_usd: float | None
    seconds: float
    model: str | None
    flags: list[str]
    clipped: bool
    row: NotRequired[int]
    variant: NotRequired[str]
    of: NotRequired[str]
    label: NotRequired[Any]
    agreement: NotRequired[float]
    votes: NotRequired[int]
    scores: NotRequired[RowScores]


class TableJson(TypedDict):
    """A page of such rows: `total` of the map, `matching` the question; `next` is the start of the next page. With
    `complete` false a search took too long to read all rows; `notes` say what of the log cannot be read; `variants` and
    `scores` are the names of those of the task."""

    rows: list[TableRowJson]
    total: int
    matching: int
    next: int | None
    complete: bool
    notes: list[str]
    variants: list[str]
    scores: list[str]


class ComparedRowJson(TypedDict):
    """A row of a map in two runs, see `Run.compare`. `change`: `changed`, `only_a`, `only_b`, `failed` (in both),
    `open` or `same`; `by_input`: joined by an equal input, else by its place. A side is None where there is no row."""

    change: str
    by_input: bool
    a: TableRowJson | None
    b: TableRowJson | None


class ComparedSideJson(TypedDict):
    """A map in one of two runs."""

    run: str
    rows: int
    done: int
    failed: int
    tokens: int
    cost_usd: float | None
    seconds: float
    models: list[str]


class ComparisonSummaryJson(TypedDict):
    """Pairs by their change; `agreement` is the share of equal answers, None without any to judge; `scores` are
    those that both runs have."""

    changed: int
    only_a: int
    only_b: int
    failed: int
    open: int
    same: int
    agreement: float | None
    by_index: int
    a: ComparedSideJson
    b: ComparedSideJson
    scores: NotRequired[list[PairedScore]]


class ComparisonJson(TypedDict):
    """A page of a comparison; with `complete` false not all rows were read yet, and asked again it goes on."""

    task: str
    rows: list[ComparedRowJson]
    summary: ComparisonSummaryJson
    matching: int
    next: int | None
    complete: bool
    notes: list[str]


class ModelCallJson(TypedDict):
    """A call to a model. `kind` is its stage; `state`: `done`, `failed`, `in_flight`, `unknown` or `withdrawn`; `error`
    the code of one that failed.

    Alone it has also `messages` (with `why` when they cannot be known, `rendered`, `exact`: their hash is that of what
    was sent), `answer`, `clipped`, `tool_calls` and `schema`, and `error` is the whole one.
    """

    n: int
    key: str
    task: str
    row: int | None
    attempt: int
    round: int
    kind: str
    state: str
    model: str | None
    started_at: str
    seconds: float | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    cached: bool
    batch: bool
    finish: str | None
    error: Any
    messages: NotRequired[list[JsonObject] | None]
    why: NotRequired[str | None]
    rendered: NotRequired[bool]
    exact: NotRequired[bool]
    answer: NotRequired[str | None]
    clipped: NotRequired[bool]
    tool_calls: NotRequired[list[JsonObject]]
    schema: NotRequired[JsonObject | None]
