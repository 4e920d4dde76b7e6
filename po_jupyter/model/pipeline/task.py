"""A task of a pipeline and the values it is made of, some of which its pipeline has too. Imported from
`model.pipeline`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline import json_schema
from po_jupyter.model.pipeline.violations import HIDDEN
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.durations import Seconds
from po_jupyter.model.values.json import JsonObject

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
    """How often one call is tried (`llm.retry`); only transient errors are. Delays in seconds."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    initial_delay: Annotated[float, Field(ge=0, le=3600)] = 1.0
    max_delay: Annotated[float, Field(ge=0, le=3600)] = 60.0
    multiplier: Annotated[float, Field(ge=1, le=10)] = 2.0


class TaskRetry(CallRetry):
    """How often a task or an item is attempted (`retry`). Delays in seconds."""

    max_delay: Annotated[float, Field(ge=0, le=3600)] = 10.0


class LLM(Value):
    """Model settings; what a task leaves out comes from its pipeline.

    `model` is a model ref (`openai:gpt-5-mini`). The first system's separate `provider` and `model`
    keys are read too. `timeout` is of one request, in seconds. `stop` are texts at which an answer ends. `seed`
    asks for answers that repeat, and `effort` says how much a model that reasons should; providers that have
    neither are not told.
    """

    model: str | None = None
    provider: str | None = Field(default=None, exclude=True)
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    timeout: Seconds | None = None
    api: Literal["responses", "chat"] | None = None
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)] | None = None
    seed: int | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    retry: CallRetry | None = None

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

    usd: Annotated[float, Field(gt=0)] | None = None
    tokens: Annotated[int, Field(gt=0)] | None = None


class RunBudget(Budget):
    """The budget of one run, over that of its pipeline; `tasks` are limits of single tasks by name."""

    tasks: dict[TaskName, Budget] = Field(default_factory=dict)


class Refine(Value):
    """`max_attempts` re-asks after a failed validation; `critique` is a template that sees `output`."""

    max_attempts: Annotated[int, Field(ge=0, le=20)] = 2
    critique: str | None = None


class Gate(Value):
    """A pause after the task, until a person decides; `artifacts` are named to that person."""

    message: str = ""
    artifacts: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"message": data}
        return {} if data is True else data


class Turn(Value):
    """One message of a prompt that is a list: `content` is a template."""

    role: Literal["system", "user", "assistant"]
    content: str


def _form(value: Any) -> str:
    return OF_LIST if isinstance(value, list | tuple) else OF_TEXT


# Tags of the two forms in the places of errors, where `violations_of` leaves them out.
OF_TEXT, OF_LIST = f"{HIDDEN}text", f"{HIDDEN}list"
PromptText = Annotated[
    Annotated[str, Tag(OF_TEXT)] | Annotated[tuple[Turn, ...], Field(min_length=1), Tag(OF_LIST)],
    Discriminator(_form),
]


def _schema_of(value: Any) -> Any:
    """A pydantic model, dataclass or TypedDict stands for its JSON Schema."""
    if isinstance(value, type) or get_origin(value) is not None:
        from po_jupyter.model.pipeline.answer_schema import answer_schema_of

        try:
            return dict(answer_schema_of(value).schema)
        except InvalidInput as error:
            raise ValueError(error.message) from None
    return value


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

    name: TaskName
    description: str = ""
    task: str | None = None
    source: str | None = None
    needs: tuple[TaskName, ...] | None = None
    system: str | None = None
    prompt: PromptText | None = None
    images: tuple[str, ...] = ()
    tools: tuple[ToolName, ...] = ()
    max_tool_rounds: Annotated[int, Field(ge=1, le=100)] = 8
    output: Annotated[CheckedJsonObject, BeforeValidator(_schema_of)] | None = None
    for_each: str | None = None
    mode: Literal["batch"] | None = None
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 5
    failure_threshold: Annotated[float, Field(ge=0, le=1)] = 1.0
    llm: LLM = LLM()
    retry: TaskRetry = TaskRetry()
    timeout: Seconds = 300.0
    refine: Refine = Refine()
    gate: Gate | None = None
    cache: Annotated[Literal["refresh"] | bool | None, BeforeValidator(_cache_mode)] = None
    budget: Budget = Budget()
    config: CheckedJsonObject = Field(default_factory=dict)

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

    @field_validator("output")
    @classmethod
    def _is_schema(cls, value: JsonObject | None) -> JsonObject | None:
        if value is not None:
            json_schema.load()
            from jsonschema import Draft202012Validator, SchemaError

            try:
                Draft202012Validator.check_schema(value)
            except SchemaError as error:
                where = "/".join(map(str, error.absolute_path))
                raise ValueError(
                    f"not a JSON Schema{' at ' + where if where else ''}: {error.message:.200}"
                ) from None
        return value

    @field_validator("source")
    @classmethod
    def _is_python(cls, value: str | None) -> str | None:
        if value is not None:
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

    @property
    def kind(self) -> Literal["prompt", "python"]:
        """`prompt` needs no code; `python` is a module of stage functions."""
        return "prompt" if self.prompt is not None else "python"
