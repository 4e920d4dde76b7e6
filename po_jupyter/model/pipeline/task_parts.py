"""The parts of a task and of its pipeline: settings of models, retries, budgets, gates, messages. Imported from
`model.pipeline`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from po_jupyter.model.pipeline.violations import OF_LIST, OF_TEXT
from po_jupyter.model.values.durations import Seconds

TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


class Value(BaseModel):
    """What a definition is made of: frozen, and nothing beside its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CallRetry(Value):
    """The retries of one call (`llm.retry`); only transient errors are retried. Delays in seconds."""

    max_attempts: Annotated[int, Field(ge=1, le=20, description="Attempts in all, the first one included.")] = 3
    initial_delay: Annotated[float, Field(ge=0, le=3600, description="Seconds before the second attempt.")] = (
        1.0
    )
    max_delay: Annotated[float, Field(ge=0, le=3600, description="Seconds between two attempts at most.")] = (
        60.0
    )
    multiplier: Annotated[
        float, Field(ge=1, le=10, description="How many times longer each wait is than the one before it.")
    ] = 2.0


class TaskRetry(CallRetry):
    """The attempts of a task or an item (`retry`). Delays in seconds."""

    max_delay: Annotated[float, Field(ge=0, le=3600, description="Seconds between two attempts at most.")] = (
        10.0
    )


class LLM(Value):
    """Model settings; what a task leaves out comes from its pipeline.

    `model` is a model ref (`openai:gpt-5-mini`). The first system's separate `provider` and `model`
    keys are read too. `timeout` is of one request, in seconds. `stop` are texts at which an answer ends. `seed`
    asks for answers that repeat, and `effort` says how much a model that reasons should; providers that have
    neither are not told.
    """

    model: str | None = Field(
        default=None, description="The model as `provider:model`, for example openai:gpt-5-mini."
    )
    provider: str | None = Field(
        default=None, exclude=True, description="The provider, where `model` does not begin with it."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="How much answers vary: 0 for as little as possible."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens of an answer at most, without thoughts. An answer that is cut off there is an error.",
    )
    max_thinking_tokens: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Tokens that a model which reasons may think at most; by default after `effort`.",
    )
    timeout: Seconds | None = Field(default=None, description="Seconds that one request may take.")
    api: Literal["responses", "chat"] | None = Field(
        default=None, description="Which of OpenAI's APIs is used; chosen by the model where this is not set."
    )
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)] | None = Field(
        default=None, description="Texts at which an answer ends."
    )
    seed: int | None = Field(default=None, description="A number that asks for answers that repeat.")
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="How much a model that reasons should reason."
    )
    retry: CallRetry | None = Field(default=None, description="How often one call is tried.")

    @model_validator(mode="before")
    @classmethod
    def _join_provider(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"model": data}
        if isinstance(data, Mapping) and data.get("provider") and data.get("model"):
            joined = dict(data)
            provider, model = str(joined.pop("provider")), str(joined["model"])
            joined["model"] = model if model.startswith(f"{provider}:") else f"{provider}:{model}"
            return joined
        if isinstance(data, Mapping) and data.get("provider"):
            raise ValueError(
                f"`provider` {data['provider']!r:.60} without a `model`; write model: provider:model"
            )
        return data

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _is_ref(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9_-]+:\S+", value):
            raise ValueError("a model is written provider:model, for example openai:gpt-5-mini")
        return value

    def over(self, base: LLM | None) -> LLM:
        """These settings, with what they leave out taken from `base`."""
        if base is None:
            return self
        return self.model_copy(
            update={k: v for k, v in base.__dict__.items() if v is not None and getattr(self, k) is None}
        )


class Budget(Value):
    """Hard limits of a run: US dollars and tokens (input and output together)."""

    usd: Annotated[float, Field(gt=0)] | None = Field(default=None, description="US dollars at most.")
    tokens: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Tokens at most, input and output together."
    )


class RunBudget(Budget):
    """The budget of one run, over that of its pipeline; `tasks` are limits of single tasks by name."""

    tasks: dict[TaskName, Budget] = Field(default_factory=dict)


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


def _form(value: Any) -> str:
    return OF_LIST if isinstance(value, list | tuple) else OF_TEXT


# The tags of the two forms are in the places of errors, where `violations_of` leaves them out.
PromptText = Annotated[
    Annotated[str, Tag(OF_TEXT)] | Annotated[tuple[Turn, ...], Field(min_length=1), Tag(OF_LIST)],
    Discriminator(_form),
]
