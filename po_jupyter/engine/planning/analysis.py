"""The analysis of a pipeline before a run (B16): what each task does, needs and leaves, and what the seed looks like.

Nothing is rendered and no code is run: Python is read, not imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import TypedDict

from po_jupyter.engine.planning.schema_text import schema_line, schema_of
from po_jupyter.model.pipeline.evals.confidence import with_confidence
from po_jupyter.model.pipeline.pipeline import STAGES, Pipeline, Task
from po_jupyter.model.run.contained import pipeline_in
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.task_kind import ASKS_MODEL

_MOST_ARTIFACTS = 20
_METHOD = "write_artifact"


class TaskAnalysis(TypedDict):
    """A task before it runs.

    needs      tasks that are done before it
    stages     that it goes through, in order; None for a module, which is read when the task runs
    artifacts  files that it writes under a name that stands in its code, or that its gate shows
    output     the JSON Schema of its output (of each row's, for a map), None where it has none; `shape` in a line
    gate       it waits for a person's decision at its end
    pipeline   the tasks of the pipeline that it runs; None for any other task
    """

    name: str
    kind: str
    needs: list[str]
    for_each: str | None
    stages: list[str] | None
    tools: list[str]
    artifacts: list[str]
    output: JsonObject | None
    shape: str
    gate: bool
    pipeline: list[TaskAnalysis] | None


class SeedAnalysis(TypedDict):
    """The seed: the JSON Schema that is deduced from samples of its data, and that in a line."""

    schema: JsonObject
    shape: str


class PipelineAnalysis(TypedDict):
    """The tasks in order, and the seed, where there is one."""

    tasks: list[TaskAnalysis]
    seed: SeedAnalysis | None


def analyse(pipeline: Pipeline, data: Mapping[str, JsonValue] | None = None) -> PipelineAnalysis:
    """The analysis of a checked pipeline; `data` is the seed's, None without one."""
    seed: SeedAnalysis | None = None
    if data:
        schema = schema_of(data)
        seed = {"schema": schema, "shape": schema_line(schema)}
    return {"tasks": [_task(task, pipeline) for task in pipeline.tasks], "seed": seed}


def _task(task: Task, pipeline: Pipeline) -> TaskAnalysis:
    module = _parsed(task.source)
    shown = list(task.gate.artifacts) if task.gate is not None else []
    schema = with_confidence(task) if isinstance(task.output, dict) else None
    inner = pipeline_in(task)
    return {
        "name": task.name,
        "kind": task.kind,
        "needs": list(pipeline.needs_of(task.name)),
        "for_each": task.for_each,
        "stages": _all_stages(task, module),
        "pipeline": None if inner is None else [_task(one, inner) for one in inner.tasks],
        "tools": list(task.tools),
        "artifacts": list(dict.fromkeys([*_artifacts(module), *shown]))[:_MOST_ARTIFACTS],
        "output": schema,
        "shape": "" if schema is None else schema_line(schema),
        "gate": task.gate is not None,
    }


def _all_stages(task: Task, module: ast.Module | None) -> list[str] | None:
    if task.kind == "operator":
        return []
    return _prompt_stages(task) if task.kind in ASKS_MODEL else _stages(module)


def _prompt_stages(task: Task) -> list[str]:
    """As `engine.prompts.prompt_task.PromptTask.stages` has them."""
    stages = ["prompt_templating", "inference"]
    if task.output is not None:
        stages += ["parsing", "validate_structure"]
    return [*stages, "critique"] if task.refine.critique is not None else stages


def _parsed(source: str | None) -> ast.Module | None:
    try:
        return None if source is None else ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _stages(module: ast.Module | None) -> list[str] | None:
    if module is None:
        return None
    defined = {_stage_name(name) for name in _top_names(module)}
    return [stage for stage in STAGES if stage in defined]


def _top_names(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _stage_name(name: str) -> str:
    """`validateQuality` is the stage `validate_quality` too."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _artifacts(module: ast.Module | None) -> Iterator[str]:
    for node in ast.walk(module) if module is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == _METHOD:
            named = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
            yield from (
                arg.value for arg in named if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )
