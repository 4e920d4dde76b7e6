"""A task of a pipeline and the values it is made of, some of which its pipeline has too. Imported from
`model.pipeline`."""

from __future__ import annotations

import ast
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from po_jupyter.model.pipeline.output_field import RECORDED, OutputSchema, with_output_type
from po_jupyter.model.pipeline.pipeline_field import ContainedPipeline, pipeline_task_problem
from po_jupyter.model.pipeline.sharding import MOST_SHARDS, shards_problem
from po_jupyter.model.pipeline.task_parts import (
    LLM,
    Budget,
    CallRetry,
    Gate,
    PromptText,
    Refine,
    RunBudget,
    TaskName,
    TaskRetry,
    Turn,
    Value,
)
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.durations import Seconds

__all__ = [
    "LLM",
    "STAGES",
    "Budget",
    "CallRetry",
    "Gate",
    "PromptText",
    "Refine",
    "RunBudget",
    "Task",
    "TaskKind",
    "TaskName",
    "TaskRetry",
    "ToolName",
    "Turn",
    "Value",
]

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

TaskKind = Literal["prompt", "python", "pipeline"]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_./-]+$", max_length=200)]


def _cache_mode(value: Any) -> Any:
    if value is None or isinstance(value, bool) or value == "refresh":
        return value
    raise ValueError("`cache` is true, false or refresh")


class Task(Value):
    """One step of a pipeline.

    With `prompt` it is a prompt task, with `pipeline` it runs another pipeline, whose seed has the data `seed`;
    otherwise its Python comes from `source` (the text of a module) or from the module that `task` (default: its name)
    finds. `timeout` is of one stage attempt
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
    pipeline: ContainedPipeline | None = Field(
        default=None,
        description="A registered pipeline that the task runs, by its name; or the definition of one.",
    )
    seed: CheckedJsonObject | None = Field(
        default=None,
        description="The data of the seed of `pipeline`, each value a template. Not set: that of this run.",
    )
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
    def _runs_a_pipeline(self) -> Task:
        fields = [name for name in self.model_fields_set if getattr(self, name) is not None]
        if problem := pipeline_task_problem(fields, runs_pipeline=self.pipeline is not None):
            raise ValueError(f"task {self.name!r} {problem}")
        return self

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
    def kind(self) -> TaskKind:
        """`prompt` needs no code; `python` is a module of stage functions; `pipeline` is a run of its own."""
        if self.pipeline is not None:
            return "pipeline"
        return "prompt" if self.prompt is not None else "python"

    @property
    def carries_code(self) -> bool:
        """Whether Python comes with the definition: running it needs the scope `code:run`."""
        return self.source is not None or self.output_type is not None

    @property
    def module(self) -> str | None:
        """The module or entry point of a Python task without `source`; None for any other task."""
        return (self.task or self.name) if self.kind == "python" and self.source is None else None
