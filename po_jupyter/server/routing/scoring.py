"""Scores of a run's tasks: the shapes of their requests, and the part of an orchestrator that has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, TypeAlias, TypedDict

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from po_jupyter.model.pipeline.violations import OF_LIST, OF_MAPPING, OF_TEXT
from po_jupyter.model.run.comparing import ScoresWithVariants
from po_jupyter.model.run.scores import ExpectedAnswer, ScoredRow, ScoreQuery
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.routing.shapes import Name, Query

MOST_WORST = 100

Worst = Annotated[int, Field(ge=0, le=MOST_WORST)]


def _form_of(value: Any) -> str:
    return OF_TEXT if isinstance(value, str) else OF_LIST if isinstance(value, list) else OF_MAPPING


# A scorer, a list of them, or the text of either.
Scorers: TypeAlias = Annotated[
    Annotated[str, Tag(OF_TEXT)]
    | Annotated[JsonObject, Tag(OF_MAPPING)]
    | Annotated[list[JsonObject], Tag(OF_LIST)],
    Discriminator(_form_of),
]


class ScoresQuery(Query):
    """The scores of one task, with so many of the worst rows."""

    task: Name
    worst: Worst = 10


class ScoreBody(BaseModel):
    """Scores of the recorded answers of a map: `score` is what the field of a task is, a scorer or a list of
    them. A judge needs a `budget`, or `judge_run`, the run that was its answer before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    score: Scorers
    budget: JsonObject | None = None
    worst: Worst = 10
    judge_run: Name | None = None


class ScoreRowsBody(BaseModel):
    """The same of single rows, from number `start` of the map on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    score: Scorers
    judge_run: Name | None = None
    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000


class AnswersScored(TypedDict):
    """See `ScoresApi.score`."""

    scores: ScoresWithVariants
    run: RunView | None
    left_out: Mapping[str, Mapping[str, int]]


class ScoresApi(Protocol):
    """Scores. NotFound for an unknown run, and for somebody else's."""

    async def recorded(
        self, run_id: str, owner: str | None, task: str, worst: int = 10, *, beside: bool = True
    ) -> ScoresWithVariants:
        """The scores that a run recorded; with `beside` the variants of a map are compared by them."""
        ...

    async def score(
        self, query: ScoreQuery, *, budget: JsonObject | None = None, worst: int = 10, code_allowed: bool = True
    ) -> AnswersScored:
        """Recorded answers scored anew: `scores` by metrics, and the `run` that judges. InvalidPipeline,
        InvalidInput."""
        ...

    async def rows(
        self, query: ScoreQuery, *, start: int = 0, limit: int = 1000
    ) -> tuple[Sequence[ScoredRow], int | None]:
        """The same of single rows, and where the next ones begin."""
        ...

    async def expected(self, run_id: str, owner: str | None, task: str, index: int) -> Sequence[ExpectedAnswer]:
        """What the scorers of a map expect of a row."""
        ...
