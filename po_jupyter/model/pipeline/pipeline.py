"""The definition of a pipeline: frozen values that a YAML cell, a JSON body or Python builds.

Text with line numbers is parsed in `parsing.py`; names that need the outside world (is there such a
provider, does the module exist) are checked where that world is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, model_validator

from po_jupyter.model.pipeline.llm_settings import LLM, CallRetry, CascadeStep
from po_jupyter.model.pipeline.task import Task
from po_jupyter.model.pipeline.task_parts import (
    STAGES,
    Budget,
    Gate,
    PromptText,
    Refine,
    RunBudget,
    TaskName,
    TaskRetry,
    ToolName,
    Turn,
)
from po_jupyter.model.pipeline.value import Value
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.pipeline.votes import Votes
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject

# A definition is imported from here, its tasks and their parts too.
__all__ = [
    "LLM",
    "MAX_TASKS",
    "STAGES",
    "Budget",
    "CallRetry",
    "CascadeStep",
    "Gate",
    "Pipeline",
    "PipelineName",
    "PromptText",
    "Refine",
    "RunBudget",
    "Task",
    "TaskName",
    "TaskRetry",
    "ToolName",
    "Turn",
    "Votes",
]

MAX_TASKS = 1000

PipelineName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=100)]


def _as_task(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Pipeline(Value):
    """Tasks in order, with defaults and a budget. `version` is `x.y.z`; tasks are unique and form a DAG."""

    name: PipelineName = Field(description="The pipeline's name: small letters, digits and hyphens.")
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$", description="Three numbers, such as 1.0.0.")] = (
        "1.0.0"
    )
    description: str = Field(default="", description="A text for people.")
    llm: LLM = Field(default=LLM(), description="Model settings of all tasks that have none of their own.")
    budget: Budget = Field(default=Budget(), description="Hard limits of a run.")
    tasks: Annotated[
        tuple[Annotated[Task, BeforeValidator(_as_task)], ...],
        Field(
            min_length=1,
            max_length=MAX_TASKS,
            description="The tasks in order; a text is the name of a Python task.",
        ),
    ]
    metadata: CheckedJsonObject = Field(
        default_factory=dict, description="Any JSON; kept with the pipeline, used by nothing."
    )

    @model_validator(mode="after")
    def _is_a_dag(self) -> Pipeline:
        names = [t.name for t in self.tasks]
        twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"two tasks are called {', '.join(map(repr, twice))}; task names are unique")
        known = set(names)
        for task in self.tasks:
            for need in task.needs or ():
                if need not in known:
                    raise ValueError(
                        f"task {task.name!r} needs {need!r}, which is not a task{did_you_mean(need, names)}"
                    )
        cycle = _cycle({name: self.needs_of(name) for name in names})
        if cycle:
            raise ValueError("`needs` goes in a circle: " + " → ".join(cycle))
        return self

    @model_validator(mode="after")
    def _runs_pipelines(self, info: ValidationInfo) -> Pipeline:
        for task in self.tasks:
            if task.pipeline is not None and not isinstance(task.pipeline, str):
                try:
                    Pipeline.model_validate(task.pipeline, context=info.context)
                except ValidationError as error:
                    first = error.errors()[0]
                    place = ".".join(map(str, first["loc"]))
                    message = first["msg"].removeprefix("Value error, ")
                    raise ValueError(
                        f"task {task.name!r}: its pipeline: {f'{place}: ' if place else ''}{message}"
                    ) from None
        return self

    @cached_property
    def _by_name(self) -> dict[str, Task]:
        return {task.name: task for task in self.tasks}

    def task(self, name: str) -> Task:
        """The task of that name. Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The dependencies of each task: its `needs`, or by default the task before it."""
        needs: dict[str, tuple[str, ...]] = {}
        before: tuple[str, ...] = ()
        for task in self.tasks:
            needs[task.name] = before if task.needs is None else task.needs
            before = (task.name,)
        return needs

    @cached_property
    def maps(self) -> frozenset[str]:
        """The tasks that are maps."""
        return frozenset(task.name for task in self.tasks if task.for_each is not None)

    def needs_of(self, name: str) -> tuple[str, ...]:
        """The dependencies of task `name`. Raises KeyError."""
        return self.needs[name]

    def upstream_of(self, name: str) -> frozenset[str]:
        """Every task that is finished for sure when `name` starts."""
        if name not in self._upstream:
            self._upstream[name] = self._upstream_of(name)
        return self._upstream[name]

    @cached_property
    def _upstream(self) -> dict[str, frozenset[str]]:
        return {}

    def _upstream_of(self, name: str) -> frozenset[str]:
        seen: set[str] = set()
        todo = list(self.needs_of(name))
        while todo:
            need = todo.pop()
            if need not in seen:
                seen.add(need)
                todo.extend(self.needs_of(need))
        return frozenset(seen)

    def llm_of(self, task: Task) -> LLM:
        """The model settings of `task`, the pipeline's filled in; of a cascade those of its first model."""
        return self._over_own(task.llms[0])

    def llms_of(self, task: Task) -> tuple[LLM, ...]:
        """The model settings of each model of a task's cascade, in turn; of most tasks one."""
        return tuple(map(self._over_own, task.llms))

    def _over_own(self, own: LLM) -> LLM:
        known = self._filled_in.get(id(own))
        if known is None or known[0] is not own:
            known = self._filled_in[id(own)] = own, own.over(self.llm)
        return known[1]

    @cached_property
    def _filled_in(self) -> dict[int, tuple[LLM, LLM]]:
        """Settings of tasks and what they are over the pipeline's, by the former's identity."""
        return {}

    def to_json(self) -> JsonObject:
        """The definition as JSON, defaults left out: what the wire and the store carry."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def revision(self) -> str:
        """The first 12 hex digits of the SHA-256 of the canonical definition: same content, same revision."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return short_digest(text, 12)


def _cycle(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One circle in `needs` as a path that ends where it began, or []. Iterative depth-first search."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, i = stack.pop()
            if i == 0:
                if name in done:
                    continue
                if name in path:
                    return [*path[path.index(name) :], name]
                path.append(name)
            if i < len(needs[name]):
                stack.append((name, i + 1))
                stack.append((needs[name][i], 0))
            else:
                path.pop()
                done.add(name)
    return []
