"""Pipelines inside of pipelines: a task with `pipeline` runs another one. A definition has them inlined, so that a run
keeps what it ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from po_jupyter.errors import InvalidPipeline, NotFound, Violation
from po_jupyter.model.pipeline.output_field import RECORDED
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.task import Task

MOST_DEEP = 5  # pipelines in one another below the outermost one


def pipeline_in(task: Task) -> Pipeline | None:
    """The pipeline that a task runs, where it is inlined."""
    if task.pipeline is None or isinstance(task.pipeline, str):
        return None
    return Pipeline.model_validate(task.pipeline, context={RECORDED: True})


def contained(pipeline: Pipeline, path: str = "") -> Iterator[tuple[str, Pipeline]]:
    """(path, pipeline) of every pipeline inlined in another one, at any depth: `tasks[1].pipeline`."""
    for i, task in enumerate(pipeline.tasks):
        if (inner := pipeline_in(task)) is not None:
            where = f"{path}tasks[{i}].pipeline"
            yield where, inner
            yield from contained(inner, f"{where}.")


def task_paths(pipeline: Pipeline) -> Iterator[str]:
    """The names of its tasks, and of those in the pipelines inlined in it: `t.a` is task `a` of what task `t` runs."""
    for task in pipeline.tasks:
        yield task.name
        if (inner := pipeline_in(task)) is not None:
            yield from (f"{task.name}.{path}" for path in task_paths(inner))


def names_pipelines(pipeline: Pipeline) -> bool:
    """Whether a task names a pipeline, or has one inlined."""
    return any(task.pipeline is not None for task in pipeline.tasks)


def inlined(pipeline: Pipeline, registered: Callable[[str], Pipeline]) -> Pipeline:
    """The pipeline with the definition of every one that its tasks name in the place of the name.

    `registered` finds one by its name. Raises InvalidPipeline for an unknown name, for one that contains itself and for
    more than five in one another, with the place of the task.
    """
    result, problems = _inlined(pipeline, registered, (pipeline.name,), "")
    if problems:
        raise InvalidPipeline(violations=problems)
    return result


def _inlined(
    pipeline: Pipeline, registered: Callable[[str], Pipeline], outer: tuple[str, ...], path: str
) -> tuple[Pipeline, list[Violation]]:
    """`outer` are the names of the pipelines around, the pipeline's own last."""
    tasks: list[Task] = []
    problems: list[Violation] = []
    for i, task in enumerate(pipeline.tasks):
        where = f"{path}tasks[{i}].pipeline"
        if isinstance(task.pipeline, str) and task.pipeline in outer:  # whatever it has in it
            chain = (*outer[outer.index(task.pipeline) :], task.pipeline)
            problems.append(Violation(where, f"task {task.name!r}: {_problem(chain)}"))
            continue
        try:
            inner = registered(task.pipeline) if isinstance(task.pipeline, str) else pipeline_in(task)
        except NotFound as error:
            problems.append(Violation(where, f"task {task.name!r}: {error.message}. {error.hint}".strip()))
            continue
        if inner is not None:
            chain = (*outer, inner.name)
            if (problem := _problem(chain)) is not None:
                problems.append(Violation(where, f"task {task.name!r}: {problem}"))
                continue
            inner, wrong = _inlined(inner, registered, chain, f"{where}.")
            problems += wrong
            task = task.model_copy(update={"pipeline": inner.to_json()})
        tasks.append(task)
    if problems:
        return pipeline, problems
    if not names_pipelines(pipeline):
        return pipeline, []
    fields = {name: getattr(pipeline, name) for name in type(pipeline).model_fields}
    return Pipeline.model_construct(pipeline.model_fields_set, **{**fields, "tasks": tuple(tasks)}), []


def _problem(chain: tuple[str, ...]) -> str | None:
    if chain[-1] in chain[:-1]:
        return "a pipeline cannot run itself: " + " → ".join(chain[chain.index(chain[-1]) :])
    if len(chain) - 1 > MOST_DEEP:
        return f"more than {MOST_DEEP} pipelines in one another: " + " → ".join(chain)
    return None
