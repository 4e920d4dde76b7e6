"""The parts of a task, some of which its pipeline has too: names, retries, budgets, gates, messages. Imported from
`model.pipeline`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from po_jupyter.model.pipeline.llm_settings import CallRetry, one_or_several
from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import OF_LIST, OF_TEXT

STAGES = (
    "ingestion",
    "pre_processing",
    "prompt_templating",
    "inference",
    "parsing",
    "validate_structure",
    "validate_quality",
    "critique",
    "refine",
    "final_validation",
    "integration",
)

TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
# `t.a` is task `a` of the pipeline that task `t` runs.
TaskPath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*$", max_length=700)
]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_./-]+$", max_length=200)]


class TaskRetry(CallRetry):
    """The attempts of a task or an item (`retry`). Delays in seconds."""

    max_delay: Annotated[float, Field(ge=0, le=3600, description="Seconds between two attempts at most.")] = (
        10.0
    )


class Budget(Value):
    """Hard limits of a run: US dollars and tokens (input and output together)."""

    usd: Annotated[float, Field(gt=0)] | None = Field(default=None, description="US dollars at most.")
    tokens: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Tokens at most, input and output together."
    )


class RunBudget(Budget):
    """The budget of one run, over that of its pipeline; `tasks` are limits of single tasks by name, `t.a` of a task in
    the pipeline that task `t` runs. A limit of `t` stands in the place of that pipeline's own."""

    tasks: dict[TaskPath, Budget] = Field(default_factory=dict)


class Refine(Value):
    """`max_attempts` re-asks after a failed validation; `critique` is a template that sees `output`."""

    max_attempts: Annotated[
        int, Field(ge=0, le=20, description="Times that an answer which fails a validation is asked for again.")
    ] = 2
    critique: str | None = Field(
        default=None,
        description="A template that sees `output`; a model answers it, and its answer goes along with the next try.",
    )


class Gate(Value):
    """A pause after the task, until a person decides; `artifacts` are named to that person."""

    message: str = Field(default="", description="What the person is asked.")
    artifacts: tuple[str, ...] = Field(default=(), description="Names of artifacts to look at before deciding.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"message": data}
        return {} if data is True else data


class Turn(Value):
    """One message of a prompt that is a list: `content` is a template."""

    role: Literal["system", "user", "assistant"] = Field(
        description="Whose message it is; the last is the user's."
    )
    content: str = Field(description="The message, a template.")


def ends_with_the_user(value: str | tuple[Turn, ...] | None) -> str | tuple[Turn, ...] | None:
    """The prompt itself. Raises ValueError for a list whose last message is not the user's."""
    if isinstance(value, tuple) and value[-1].role != "user":
        raise ValueError("the last message of a prompt is the user's")
    return value


# The tags of the two forms are in the places of errors, where `violations_of` leaves them out.
PromptText = Annotated[
    Annotated[str, Tag(OF_TEXT)] | Annotated[tuple[Turn, ...], Field(min_length=1), Tag(OF_LIST)],
    Discriminator(one_or_several),
]
