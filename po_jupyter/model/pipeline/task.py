"""A task of a pipeline. Imported from `model.pipeline`."""

from __future__ import annotations

import ast
from typing import Any

from pydantic import ValidationInfo, field_validator, model_validator

from po_jupyter.model.pipeline.evals.scores import Scorer
from po_jupyter.model.pipeline.evals.variants import variant_fields, with_first_prompt
from po_jupyter.model.pipeline.llm_settings import LLM
from po_jupyter.model.pipeline.operators.rules import with_answer_schema
from po_jupyter.model.pipeline.output_field import RECORDED, with_output_type
from po_jupyter.model.pipeline.task_fields import TaskFields
from po_jupyter.model.pipeline.task_parts import Turn, ends_with_the_user
from po_jupyter.model.pipeline.task_rules import RULES
from po_jupyter.model.values.task_kind import TaskKind


class Task(TaskFields):
    """One step of a pipeline.

    With `prompt` it is a prompt task, with `embed` it makes a vector of a text,
    with `pipeline` it runs another pipeline, whose seed has the data `seed`;
    otherwise its Python comes from `source` (the text of a module) or from the module that `task` (default: its name)
    finds. `timeout` is of one stage attempt of one item, in seconds. `needs` of None means: the task before it.
    `budget` is a limit of this task (for a map: of all its rows) within that of the run. `prompt` may also be a list
    of `{role, content}`. `images` are templates of what is shown with its last turn: https and data: URLs, names of
    artifacts; `files` are PDFs and sounds from there. `tools` are tools of MCP servers, `server.tool`, called at most
    `max_tool_rounds` times in a row.
    `mode: batch` hands the rows of a map over to the provider's batch API: half the price, within a day.
    """

    @model_validator(mode="before")
    @classmethod
    def _validators_of_a_class(cls, data: Any) -> Any:
        return with_answer_schema(with_output_type(with_first_prompt(data)))

    @field_validator("needs", mode="before")
    @classmethod
    def _one_need(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("images", "files", "tools", mode="before")
    @classmethod
    def _one_of_them(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("prompt")
    @classmethod
    def _ends_with_the_user(cls, value: str | tuple[Turn, ...] | None) -> str | tuple[Turn, ...] | None:
        return ends_with_the_user(value)

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
    def _keeps_the_rules(self) -> Task:
        for rule in RULES:
            if problem := rule(self):
                raise ValueError(f"task {self.name!r}{problem}")
        return self

    @property
    def llms(self) -> tuple[LLM, ...]:
        """The model settings, of a cascade those of each model in turn."""
        return self.llm if isinstance(self.llm, tuple) else (self.llm,)

    def llm_place(self, number: int) -> str:
        """Where the settings of that model stand: `llm`, or `llm[number]` of a list."""
        return f"llm[{number}]" if isinstance(self.llm, tuple) else "llm"

    @property
    def variant_tasks(self) -> tuple[Task, ...]:
        """The task once for each of its variants, as each asks; the task alone where it has none."""
        if self.variants is None:
            return (self,)
        return tuple(self.model_copy(update=variant_fields(self, v)) for v in self.variants.values())

    @property
    def variant_places(self) -> tuple[tuple[str, Task], ...]:
        """`variant_tasks`, each with where in the task its `llm` stands: `variants.NAME.`, or nothing."""
        places = [
            f"variants.{name}." if variant is not None and variant.llm is not None else ""
            for name, variant in (self.variants or {"": None}).items()
        ]
        return tuple(zip(places, self.variant_tasks, strict=True))

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """The ways in which answers are scored, none for most tasks."""
        if self.score is None:
            return ()
        return self.score if isinstance(self.score, tuple) else (self.score,)

    def scorer_place(self, number: int) -> str:
        """Where that scorer stands: `score`, or `score[number]` of a list."""
        return f"score[{number}]" if isinstance(self.score, tuple) else "score"

    @property
    def kind(self) -> TaskKind:
        """`prompt` and `embed` need no code; `operator` asks no model; `python` is a module of stage functions;
        `pipeline` is a run of its own."""
        if self.pipeline is not None:
            return "pipeline"
        if self.prompt is not None:
            return "prompt"
        if self.embed is not None:
            return "embed"
        return "python" if self.operator is None else "operator"

    @property
    def carries_code(self) -> bool:
        """Whether Python comes with the definition: running it needs the scope `code:run`."""
        return self.source is not None or self.output_type is not None

    @property
    def module(self) -> str | None:
        """The module or entry point of a Python task without `source`; None for any other task."""
        return (self.task or self.name) if self.kind == "python" and self.source is None else None
