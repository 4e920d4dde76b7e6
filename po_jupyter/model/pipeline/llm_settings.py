"""Model settings of a pipeline and of a task: one model, or several in a row (a cascade)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import OF_LIST, OF_TEXT
from po_jupyter.model.values.durations import Seconds

MOST_MODELS = 8  # of a cascade
SAMPLED, FEWEST_SAMPLED = 200, 20  # rows that a threshold is learned from: by default, and at least


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


class LLM(Value):
    """Model settings; what a task leaves out comes from its pipeline.

    `model` is a model ref (`openai:gpt-5-mini`). The first system's separate `provider` and `model`
    keys are read too. `timeout` is of one request, in seconds. `stop` are texts at which an answer ends. `seed`
    asks for answers that repeat, and `effort` says how much a model that reasons should; providers that have
    neither are not told. `service_tier` is slower for less, or sooner for more; a provider without it is refused.
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
    service_tier: Literal["flex", "standard", "priority"] | None = Field(
        default=None,
        description="The vendor's service tier: `flex` takes longer for about half the price, `priority` comes sooner "
        "for more; `standard` is the list's price. Not set: what the account has.",
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


class CascadeStep(LLM):
    """One model of a cascade. `when` is an expression over the answer of the model before it (`output`, `item`,
    `seed`): where it holds, this model is asked. Without it only answers that do not fit are asked for again here.
    With `target` the model before is compared with this one on a sample of the rows (see `evals.learned_cascade`).
    """

    when: str | None = Field(
        default=None,
        description="An expression that sees `output` (the answer so far), `item` and `seed`: where it holds, this "
        "model is asked too. Not set: only where the model before gave no answer that fits.",
    )
    target: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="In the place of `when`: this model is asked where the one before it is less sure than a "
        "threshold, which is learned so that at least this part of the other answers are what this model would say.",
    )
    sample: Annotated[int, Field(ge=FEWEST_SAMPLED, le=100_000)] | None = Field(
        default=None,
        description=f"Rows that both models are asked about, to learn the threshold of `target`; {SAMPLED} by default.",
    )
    on: str | None = Field(
        default=None,
        description="The field of the two answers that is compared for `target`. Not set: all but `confidence`.",
    )

    @model_validator(mode="after")
    def _one_condition(self) -> CascadeStep:
        if self.target is None and (self.sample, self.on) != (None, None):
            raise ValueError("`sample` and `on` are those of a `target`, and there is none")
        if self.target is not None and self.when is not None:
            raise ValueError(
                "`when` is a threshold of your own, `target` has one learned; write one of the two"
            )
        return self

    @property
    def sampled(self) -> int:
        """Rows that the threshold is learned from, at most."""
        return SAMPLED if self.sample is None else self.sample


def one_or_several(value: Any) -> str:
    """The tag of a field's form that is one value or a list of them."""
    return OF_LIST if isinstance(value, list | tuple) else OF_TEXT


# The tags of the two forms are in the places of errors, where `violations_of` leaves them out.
ModelChoice = Annotated[
    Annotated[LLM, Tag(OF_TEXT)]
    | Annotated[tuple[CascadeStep, ...], Field(min_length=1, max_length=MOST_MODELS), Tag(OF_LIST)],
    Discriminator(one_or_several),
]


def cascade_problem(steps: tuple[CascadeStep, ...]) -> str | None:
    """Why these steps are no cascade; None when they are one."""
    if steps[0].target is not None:
        return "the first model of `llm` is asked for every answer; `target` belongs to the one after it"
    if any(step.target is not None for step in steps) and len(steps) != 2:
        return "`target` compares two models, and `llm` has more; leave out the others"
    if steps[0].when is not None:
        return "the first model of `llm` is asked for every answer; `when` belongs to those after it"
    if any(step.model is None for step in steps[1:]):
        return "each model of `llm` after the first needs its `model`"
    return None
