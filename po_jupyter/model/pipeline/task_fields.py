"""The fields of a task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from po_jupyter.model.pipeline.evals.scores import ScoreChoice
from po_jupyter.model.pipeline.evals.variants import Variants
from po_jupyter.model.pipeline.llm_settings import LLM, ModelChoice
from po_jupyter.model.pipeline.operators.fields import (
    OPERATORS,
    DistinctBy,
    GroupBy,
    Join,
    OperatorName,
    TopK,
    Where,
)
from po_jupyter.model.pipeline.output_field import OutputSchema
from po_jupyter.model.pipeline.pipeline_field import ContainedPipeline
from po_jupyter.model.pipeline.sharding import ShardCount
from po_jupyter.model.pipeline.task_parts import (
    Budget,
    Gate,
    PromptText,
    Refine,
    TaskName,
    TaskRetry,
    ToolName,
)
from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.votes import Votes
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.durations import Seconds


def _cache_mode(value: Any) -> Any:
    if value is None or isinstance(value, bool) or value == "refresh":
        return value
    raise ValueError("`cache` is true, false or refresh")


class TaskFields(Value):
    """What may be written for a task; which of it goes together is in `task_rules`."""

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
    embed: str | None = Field(
        default=None,
        description="A template of a text whose vector (embedding) is the output: a list of numbers.",
    )
    images: tuple[str, ...] = Field(
        default=(), description="Templates of pictures to show: https: and data: URLs, names of artifacts."
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="Templates of PDF, WAV and MP3 files: https: and data: URLs, names of artifacts.",
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
        ShardCount | None,
        Field(
            description="Child runs that the rows of `for_each` are shared out to, so that several machines work on "
            "them; `auto`: one for 5,000 rows, 8 at most."
        ),
    ] = None
    where: Where | None = Field(
        default=None,
        description="The rows to keep: an expression over `item`; with a prompt `yes`, or an expression over `output`.",
    )
    group_by: GroupBy | None = Field(
        default=None,
        description="An expression over `item`: the rows in groups. With a prompt one answer for each group, which is "
        "`item.key` and `item.rows`.",
    )
    distinct: DistinctBy | None = Field(
        default=None,
        description="An expression over `item`, or true for all of it: the first row of each value, whatever its case "
        "and spaces. With `embed`, `{similarity: 0.9}`: the first of rows whose vectors are alike.",
    )
    join: Join | None = Field(
        default=None,
        description="Another list: pairs of rows, `item.left` and `item.right`, that belong together.",
    )
    top_k: TopK | None = Field(
        default=None, description="How many of the best rows to keep, and by what, or a number alone."
    )
    unnest: str | None = Field(
        default=None,
        description="A list in each row, as a field (`tags`, `output.tags`) or an expression: a row for each element.",
    )
    failure_threshold: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="The part of the rows that may fail before the task fails. Not set: any but all of them; "
            "1: all of them.",
        ),
    ] = None
    votes: Votes | None = Field(
        default=None,
        description="Answers to the same prompt, of which the majority counts, of numbers the median: a number, or "
        "how often to ask and when to stop.",
    )
    variants: Variants | None = Field(
        default=None,
        description="Prompts or models beside each other, by name: each row is asked about once for each of them, with "
        "its `prompt`, `system` and `llm` in the place of the task's.",
    )
    score: ScoreChoice | None = Field(
        default=None,
        description="How good the answers are: what is expected and by which metrics, or what a judge is asked; or a "
        "list of scores.",
    )
    confidence: Literal["logprobs"] | None = Field(
        default=None,
        description="`logprobs`: the probability of the answer's label, by the model's own tokens, as the field "
        "`confidence` of the output.",
    )
    llm: ModelChoice = Field(
        default=LLM(),
        description="Model settings of this task, over the pipeline's; or a list: models to ask one after the other, "
        "as long as the answer does not do.",
    )
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

    @property
    def operator(self) -> OperatorName | None:
        """The operator of the task, if it has one."""
        return next((name for name in OPERATORS if getattr(self, name) is not None), None)
