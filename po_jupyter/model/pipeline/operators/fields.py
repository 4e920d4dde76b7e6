"""Operators: what a task makes of a list besides one answer for each row. At most one in a task.

where      the rows for which something is true         distinct   the first of rows that are the same
group_by   the rows in groups, one answer for each      join       pairs of the rows of two lists
top_k      the best rows, by number or by comparison    unnest     a row for each element of a list in a row
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from po_jupyter.model.pipeline.task_parts import PromptText
from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import OF_MAPPING, OF_TEXT
from po_jupyter.model.values.json import JsonObject

OperatorName: TypeAlias = Literal["where", "group_by", "distinct", "join", "top_k", "unnest"]
OPERATORS: tuple[OperatorName, ...] = ("where", "group_by", "distinct", "join", "top_k", "unnest")
BY_THE_ANSWER = "{{ output.answer }}"
MOST_PAIRS = 1_000_000  # of a join that are asked about, or are its rows
_YES = ("yes", "true")

YES_OR_NO: JsonObject = {
    "type": "object",
    "properties": {"answer": {"type": "boolean", "description": "true for yes, false for no"}},
    "required": ["answer"],
    "additionalProperties": False,
}
SCORE: JsonObject = {
    "type": "object",
    "properties": {"score": {"type": "number"}},
    "required": ["score"],
    "additionalProperties": False,
}
BETTER: JsonObject = {
    "type": "object",
    "properties": {"better": {"enum": ["left", "right"], "description": "which of the two is better"}},
    "required": ["better"],
    "additionalProperties": False,
}


def _condition(value: Any) -> Any:
    """`where: yes` is what the model's answer says."""
    yes = value is True or (isinstance(value, str) and value.strip().lower() in _YES)
    return BY_THE_ANSWER if yes else value


def _whole_row(value: Any) -> Any:
    return "{{ item }}" if value is True else value


class Similar(Value):
    """Rows whose vectors, of the text that `embed` has, are alike."""

    similarity: Annotated[
        float,
        Field(
            gt=0, le=1, description="The least cosine of two vectors that count as the same, for example 0.9."
        ),
    ]


def _form_of_distinct(value: Any) -> str:
    return OF_MAPPING if isinstance(value, Mapping | Similar) else OF_TEXT


Where = Annotated[str, BeforeValidator(_condition)]
DistinctBy = Annotated[
    Annotated[str, BeforeValidator(_whole_row), Tag(OF_TEXT)] | Annotated[Similar, Tag(OF_MAPPING)],
    Discriminator(_form_of_distinct),
]


class GroupBy(Value):
    """Rows in groups by the value of `key`, in the order in which each is first met.

    With a prompt each group is asked about, and `item` is `{key, rows}`. A group whose prompt has more than `tokens`
    is asked about in parts, and then about the answers for these (`item.rows` are the answers), by `combine` or the
    same prompt.
    """

    key: str = Field(description="An expression over `item`: rows with the same value are a group.")
    combine: PromptText | None = Field(
        default=None,
        description="The prompt that makes one answer of several, where a group is too large for one prompt; "
        "`item.rows` are the answers. Not set: the task's prompt.",
    )
    tokens: Annotated[
        int | None,
        Field(
            ge=50,
            description="Tokens of one prompt at most: a larger group is asked about in parts. Not set: what fits the "
            "model's context.",
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _key_alone(cls, data: Any) -> Any:
        return {"key": data} if isinstance(data, str) else data


class Join(Value):
    """Pairs `{left, right}` of the rows of `for_each` and of `to`.

    Of rows with the same `key` (or `left_key` and `right_key`) every pair is looked at, `where` keeps some of them, and
    with a prompt the model is asked about each that is left: `keep` says of its answer whether the pair stays.
    """

    to: str = Field(description="An expression that gives the other list.")
    key: str | None = Field(
        default=None, description="An expression over `item`, a row of either list: only equal ones are a pair."
    )
    left_key: str | None = Field(default=None, description="The key of a row of `for_each`, where they differ.")
    right_key: str | None = Field(default=None, description="The key of a row of `to`, where they differ.")
    where: str | None = Field(
        default=None,
        description="An expression over `item.left` and `item.right`: pairs to keep, before any call.",
    )
    keep: Where = Field(
        default=BY_THE_ANSWER,
        description="With a prompt: an expression over `output` and `item`; pairs to keep.",
    )
    max_pairs: Annotated[
        int,
        Field(
            ge=1, le=MOST_PAIRS, description="Pairs at most that are left; more are an error before any call."
        ),
    ] = 10_000

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, data: Any) -> Any:
        return {"to": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_or_two_keys(self) -> Join:
        both = self.left_key is not None and self.right_key is not None
        either = self.left_key is not None or self.right_key is not None
        if either and (self.key is not None or not both):
            raise ValueError("give `key`, or both `left_key` and `right_key`")
        return self


class TopK(Value):
    """The `k` best rows, the best first; of equal ones the earlier row is better.

    By the value of `by`, the largest first: an expression over `item`, with a prompt also over `output`. `pairs`: by
    comparing two rows at a time, `item.left` and `item.right`, in a tournament.
    """

    k: Annotated[int, Field(ge=1, le=10_000, description="How many rows.")]
    by: str | None = Field(
        default=None,
        description="An expression whose value is the larger the better. Not set: `output.score` of the answer.",
    )
    pairs: bool = Field(default=False, description="Whether the model compares two rows at a time.")

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, data: Any) -> Any:
        return {"k": data} if isinstance(data, int) and not isinstance(data, bool) else data
