"""Votes: several answers to one prompt, of which the majority or the median counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from pydantic import Field, model_validator

from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonObject

MOST_VOTES = 100


class Votes(Value):
    """So many answers to the same prompt: the one that most of them give counts, of numbers the median.

    `n` is how often the model is asked at most, `agree` how many equal answers are enough, `stop_early` whether to
    stop as soon as no further answer changes the result, `on` the field of the answer that is compared.
    """

    n: Annotated[int, Field(ge=2, le=MOST_VOTES, description="Answers to the same prompt, at most.")]
    agree: Annotated[int, Field(ge=2, le=MOST_VOTES)] | None = Field(
        default=None, description="Equal answers that are enough: then no more are asked for."
    )
    stop_early: bool | None = Field(
        default=None,
        description="Whether to stop asking as soon as no further answer can change the result. Not set: with "
        "`agree` only.",
    )
    on: str | None = Field(
        default=None,
        description="The field of the answer that is compared. Not set: the whole answer.",
    )

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, data: Any) -> Any:
        return {"n": data} if isinstance(data, int) and not isinstance(data, bool) else data

    @model_validator(mode="after")
    def _goes_together(self) -> Votes:
        if self.agree is not None and self.agree > self.n:
            raise ValueError(f"{self.agree} of {self.n} answers cannot agree")
        if self.agree is not None and self.stop_early is False:
            raise ValueError("`agree` says when to stop asking, and `stop_early` is false")
        return self

    @property
    def stops_early(self) -> bool:
        """Whether fewer than `n` answers may be asked for."""
        return self.stop_early is True or self.agree is not None

    @property
    def fewest(self) -> int:
        """Answers that are asked for at least."""
        if not self.stops_early:
            return self.n
        # Half of an even number is enough: of two answers with as many votes the first one counts.
        return self.agree if self.agree is not None else (self.n + 1) // 2


class VoteCount(TypedDict):
    """How a vote came out: `agreeing` of the `n` votes have the answer that counts, `asked` were asked for."""

    agreeing: int
    asked: int
    n: int


def agreement(count: VoteCount) -> float:
    """The part of all votes that is known to agree: a vote that was not asked for does not."""
    return count["agreeing"] / count["n"]


def votes_problem(votes: Votes, output: JsonObject | None) -> str | None:
    """Why a task with that `output` cannot have these votes; None when it can."""
    if votes.on is None:
        return None
    if output is None:
        return f"`votes.on` is {votes.on!r}, and an answer without `output` has no fields"
    fields = output.get("properties")
    if isinstance(fields, Mapping) and fields and votes.on not in fields:
        return f"`votes.on` is {votes.on!r}, which is not a field of `output`{did_you_mean(votes.on, list(fields))}"
    return None
