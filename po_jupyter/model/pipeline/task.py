"""A task of a pipeline and the values it is made of, some of which its pipeline has too. Imported from
`model.pipeline`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from po_jupyter.model.pipeline.output_field import RECORDED, OutputSchema, with_output_type
from po_jupyter.model.pipeline.sharding import MOST_SHARDS, shards_problem
from po_jupyter.model.pipeline.violations import OF_LIST, OF_TEXT
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.durations import Seconds

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
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_./-]+$", max_length=200)]


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


def _cache_mode(value: Any) -> Any:
    if value is None or isinstance(value, bool) or value == "refresh":
        return value
    raise ValueError("`cache` is true, false or refresh")


class Task(Value):
    """One step of a pipeline.

    With `prompt` it is a prompt task; otherwise its Python comes from `source` (the text of a
    module) or from the module that `task` (default: its name) finds. `timeout` is of one stage attempt
    of one item, in seconds. `needs` of None means: the task before it. `budget` is a limit of this task (for a
    map: of all its rows) within that of the run. `prompt` may also be a list of `{role, content}`. `images` are
    templates of what is shown with its last turn: https and data: URLs, names of artifacts. `tools` are tools of
    MCP servers, `server.tool`, called at most `max_tool_rounds` times in a row. `mode: batch` hands the rows of a
    map over to the provider's batch API: half the price, within a day.
    """

    name: TaskName = Field(description="The task's name, unique in the pipeline.")
    description: str = Field(default="", description="A text for people.")
    task: str | None = Field(
        default=None, description="The Python module to use, when it is not called as the task."
    )
    source: str | None = Field(default=None, description="The text of a Python module with stage functions.")
    needs: tuple[TaskName, ...] | None = Field(
        default=None, description="Tasks that must be done first. Not set: the task before this one; []: none."
    )
    system: str | None = Field(default=None, description="The system message, a template.")
    prompt: PromptText | None = Field(
        default=None,
        description="The prompt, a template that sees `seed`, `tasks` and `item`; or a list of messages.",
    )
    images: tuple[str, ...] = Field(
        default=(), description="Templates of pictures to show: https: and data: URLs, names of artifacts."
    )
    tools: tuple[ToolName, ...] = Field(
        default=(), description="Tools of MCP servers that the model may call, as `server.tool`."
    )
    max_tool_rounds: Annotated[
        int, Field(ge=1, le=100, description="Rounds of tool calls in a row at most.")
    ] = 8
    output: OutputSchema | None = Field(
        default=None,
        description="The JSON Schema that the answer must fit; of a Python task, what its stages leave as the output.",
    )
    output_type: str | None = Field(
        default=None,
        description="Python that defines `Answer`, a type whose validators judge what fits `output`. Made from a "
        "class that is given as `output`; it needs the scope code:run, as `source` does.",
    )
    for_each: str | None = Field(
        default=None, description="An expression that gives a list: the task runs once for each `item` of it."
    )
    mode: Literal["batch"] | None = Field(
        default=None, description="`batch`: through the provider's batch API, at half the price, within a day."
    )
    max_concurrency: Annotated[
        int, Field(ge=1, le=1000, description="Rows of `for_each` that run at the same time.")
    ] = 5
    shards: Annotated[
        Annotated[int, Field(ge=1, le=MOST_SHARDS)] | Literal["auto"] | None,
        Field(
            description="Child runs that the rows of `for_each` are shared out to, so that several machines work on "
            "them; `auto`: one for 5,000 rows, 8 at most."
        ),
    ] = None
    failure_threshold: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="The part of the rows that may fail before the task fails. Not set: any but all of them; "
            "1: all of them.",
        ),
    ] = None
    llm: LLM = Field(default=LLM(), description="Model settings of this task, over the pipeline's.")
    retry: TaskRetry = Field(default=TaskRetry(), description="How often the task, or a row, is attempted.")
    timeout: Annotated[
        Seconds,
        Field(description="Seconds that one attempt of a stage may take; waits for rate limits do not count."),
    ] = 300.0
    refine: Refine = Field(default=Refine(), description="Re-asks after an answer that fails a validation.")
    gate: Gate | None = Field(default=None, description="A pause after the task, until a person decides.")
    cache: Annotated[Literal["refresh"] | bool | None, BeforeValidator(_cache_mode)] = Field(
        default=None,
        description="Whether earlier answers are used: true, false, or `refresh` to ask anew and keep the answers. "
        "Not set: yes for prompts, no for Python.",
    )
    budget: Budget = Field(default=Budget(), description="Limits of this task within those of the run.")
    config: CheckedJsonObject = Field(
        default_factory=dict, description="Any JSON; a Python task sees it as `ctx.config`."
    )

    @model_validator(mode="before")
    @classmethod
    def _validators_of_a_class(cls, data: Any) -> Any:
        return with_output_type(data)

    @field_validator("needs", mode="before")
    @classmethod
    def _one_need(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("images", "tools", mode="before")
    @classmethod
    def _one_of_them(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("prompt")
    @classmethod
    def _ends_with_the_user(cls, value: str | tuple[Turn, ...] | None) -> str | tuple[Turn, ...] | None:
        if isinstance(value, tuple) and value[-1].role != "user":
            raise ValueError("the last message of a prompt is the user's")
        return value

    @field_validator("gate", mode="before")
    @classmethod
    def _no_gate(cls, value: Any) -> Any:
        return None if value is False else value

    @field_validator("source", "output_type")
    @classmethod
    def _is_python(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not (info.context or {}).get(RECORDED):
            try:
                ast.parse(value)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                if not isinstance(error, SyntaxError):  # a null byte, or nested beyond the parser's stack
                    raise ValueError(
                        f"the Python does not parse: {str(error) or 'nested too deeply'}"
                    ) from None
                raise ValueError(
                    f"the Python does not parse: {error.msg} in line {error.lineno} of it"
                ) from None
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Task:
        if self.prompt is not None and (self.source is not None or self.task is not None):
            raise ValueError(f"task {self.name!r} has a prompt and Python code; it can be only one of the two")
        turns = self.prompt if isinstance(self.prompt, tuple) else ()
        if self.system is not None and any(turn.role == "system" for turn in turns):
            raise ValueError(f"task {self.name!r} has a `system` and a system message in its prompt")
        if self.prompt is None:
            for field in ("images", "tools"):
                if getattr(self, field):
                    raise ValueError(
                        f"task {self.name!r} has `{field}` and no `prompt`; in Python: ctx.llm.chat({field}=...)"
                    )
            for field in ("system", "output"):
                if getattr(self, field) is not None and self.source is None and self.task is None:
                    raise ValueError(f"task {self.name!r} has `{field}` but no `prompt`")
        if self.output_type is not None and (self.prompt is None or self.output is None):
            raise ValueError(f"task {self.name!r} has `output_type` without a `prompt` and an `output`")
        if self.mode == "batch" and self.prompt is None:
            raise ValueError(
                f"task {self.name!r}: `mode: batch` is for prompt tasks; what Python asks of models cannot be gathered"
            )
        if self.mode == "batch" and self.tools:
            raise ValueError(
                f"task {self.name!r}: `mode: batch` and `tools` do not go together: each use would take a batch"
            )
        if self.mode == "batch" and self.for_each is None:
            raise ValueError(f"task {self.name!r}: `mode: batch` is for maps; it needs `for_each`")
        return self

    @model_validator(mode="after")
    def _can_be_shared_out(self) -> Task:
        if self.shards is not None and (problem := shards_problem(self.for_each, self.mode, self.images)):
            raise ValueError(f"task {self.name!r}: {problem}")
        return self

    @property
    def kind(self) -> Literal["prompt", "python"]:
        """`prompt` needs no code; `python` is a module of stage functions."""
        return "prompt" if self.prompt is not None else "python"

    @property
    def carries_code(self) -> bool:
        """Whether Python comes with the definition: running it needs the scope `code:run`."""
        return self.source is not None or self.output_type is not None

    @property
    def module(self) -> str | None:
        """The module or entry point of a Python task without `source`; None for any other task."""
        return (self.task or self.name) if self.kind == "python" and self.source is None else None
