"""Which fields of a task go together. A rule gives what is wrong, as the end of a sentence that the task's name begins;
None when nothing is."""

from __future__ import annotations

from collections.abc import Callable

from po_jupyter.model.pipeline.evals.confidence import confidence_problem
from po_jupyter.model.pipeline.evals.learned_cascade import learned_cascade_problem
from po_jupyter.model.pipeline.evals.scores import Scorer, scores_problem
from po_jupyter.model.pipeline.evals.variants import variant_fields, variants_problem
from po_jupyter.model.pipeline.llm_settings import cascade_problem
from po_jupyter.model.pipeline.operators.embedding import embedding_problem
from po_jupyter.model.pipeline.operators.rules import operator_problem
from po_jupyter.model.pipeline.pipeline_field import pipeline_task_problem
from po_jupyter.model.pipeline.sharding import shards_problem
from po_jupyter.model.pipeline.task_fields import TaskFields
from po_jupyter.model.pipeline.votes import votes_problem

Rule = Callable[[TaskFields], str | None]


def _runs_a_pipeline(task: TaskFields) -> str | None:
    fields = [name for name in task.model_fields_set if getattr(task, name) is not None]
    problem = pipeline_task_problem(fields, runs_pipeline=task.pipeline is not None)
    return f" {problem}" if problem else None


def _embedding(task: TaskFields) -> str | None:
    return embedding_problem(task)


def _one_kind(task: TaskFields) -> str | None:
    if task.prompt is not None and (task.source is not None or task.task is not None):
        return " has a prompt and Python code; it can be only one of the two"
    return None


def _one_system_message(task: TaskFields) -> str | None:
    turns = task.prompt if isinstance(task.prompt, tuple) else ()
    if task.system is not None and any(turn.role == "system" for turn in turns):
        return " has a `system` and a system message in its prompt"
    return None


def _fields_of_prompts(task: TaskFields) -> str | None:
    if task.prompt is not None:
        if task.output_type is not None and task.output is None:
            return " has `output_type` without a `prompt` and an `output`"
        return None
    for field in ("images", "files", "tools"):
        if getattr(task, field):
            return f" has `{field}` and no `prompt`; in Python: ctx.llm.chat({field}=...)"
    for field in ("system", "output"):
        if getattr(task, field) is not None and task.source is None and task.task is None:
            return f" has `{field}` but no `prompt`"
    return " has `output_type` without a `prompt` and an `output`" if task.output_type is not None else None


def _batches(task: TaskFields) -> str | None:
    if task.mode != "batch":
        return None
    if task.prompt is None:
        return ": `mode: batch` is for prompt tasks; what Python asks of models cannot be gathered"
    if task.tools:
        return ": `mode: batch` and `tools` do not go together: each use would take a batch"
    own = task.llm if isinstance(task.llm, tuple) else (task.llm,)
    if any(llm.service_tier not in (None, "standard") for llm in own):
        return ": `mode: batch` and `service_tier` do not go together: a batch has a price of its own"
    if task.files:
        return ": `mode: batch` and `files` do not go together: a batch would carry each file in whole"
    return ": `mode: batch` is for maps; it needs `for_each`" if task.for_each is None else None


def _shards(task: TaskFields) -> str | None:
    problem = (
        shards_problem(task.for_each, task.mode, (*task.images, *task.files))
        if task.shards is not None
        else None
    )
    return f": {problem}" if problem else None


def _cascade(task: TaskFields) -> str | None:
    if not isinstance(task.llm, tuple):
        return None
    problem = cascade_problem(task.llm)
    return f": {problem}" if problem else None


def _votes(task: TaskFields) -> str | None:
    problem = votes_problem(task.votes, task.output) if task.votes is not None else None
    return f": {problem}" if problem else None


def _confidence(task: TaskFields) -> str | None:
    problem = confidence_problem(task)
    return f": {problem}" if problem else None


def _learned_cascade(task: TaskFields) -> str | None:
    problem = learned_cascade_problem(task)
    return f": {problem}" if problem else None


def _scores(task: TaskFields) -> str | None:
    if task.score is None:
        return None
    if task.operator is not None:
        return f": `score` is for answers of a map, and `{task.operator}` makes rows; score them in a map over those"
    scorers = (task.score,) if isinstance(task.score, Scorer) else task.score
    problem = scores_problem(scorers, task.output if task.prompt is not None else {}, task.mode)
    return f": {problem}" if problem else None


def _asked_more_than_once(task: TaskFields) -> str | None:
    several = isinstance(task.llm, tuple) and len(task.llm) > 1
    for there, what in ((task.votes is not None, "`votes`"), (several, "a list of models")):
        if there and task.prompt is None:
            return f": {what} is for prompt tasks; Python asks as often as it likes"
        if there and task.mode == "batch":
            return (
                f": {what} and `mode: batch` do not go together: each answer decides whether to ask again, and a "
                "batch takes up to a day"
            )
    return None


def _operator(task: TaskFields) -> str | None:
    return operator_problem(task)


def _variants(task: TaskFields) -> str | None:
    if (problem := variants_problem(task)) is not None or task.variants is None:
        return problem
    for name, variant in task.variants.items():
        one = task.model_copy(update=variant_fields(task, variant))
        for rule in (_one_system_message, _cascade):
            if problem := rule(one):
                return f": its variant {name!r}{problem.removeprefix(':')}"
    return None


RULES: tuple[Rule, ...] = (
    _embedding,
    _runs_a_pipeline,
    _one_kind,
    _operator,
    _one_system_message,
    _fields_of_prompts,
    _batches,
    _shards,
    _cascade,
    _votes,
    _confidence,
    _scores,
    _asked_more_than_once,
    _learned_cascade,
    _variants,
)
