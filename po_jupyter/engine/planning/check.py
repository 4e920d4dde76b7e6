"""The check of a pipeline before a run starts: all that can be known to be wrong (P11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from po_jupyter.config import McpServer
from po_jupyter.engine.planning.file_kinds import task_files_problem
from po_jupyter.engine.prompts.template_check import check_templates
from po_jupyter.engine.tools.mcp import tool_name_problem as tool_problem
from po_jupyter.errors import InvalidPipeline, Violation
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.service_tiers import tier_problem
from po_jupyter.llm.providers.refs import (
    answers_problem,
    batch_problem,
    embeddings_problem,
    images_problem,
    logprobs_problem,
    ref_problem,
)
from po_jupyter.model.pipeline.pipeline import LLM, Pipeline, Task
from po_jupyter.model.pipeline.stage_names import misspelt_stages
from po_jupyter.model.run.contained import contained, pipeline_in
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.task_kind import ASKS_MODEL

DEFAULT_MODEL = "local:smollm2-135m"


def check(
    pipeline: Pipeline,
    seed: Seed | None = None,
    *,
    default_model: str = DEFAULT_MODEL,
    servers: Mapping[str, McpServer] | None = None,
    prices: PriceBook = LIST_PRICES,
) -> None:
    """Check providers, templates, `for_each`, budgets. Raises InvalidPipeline with every violation.

    `servers` are those of the setting `mcp_servers`; without them the names of tools are not checked.

    Modules of tasks are looked up in the interpreter that will run them: `python.lookup.module_problem`.
    """
    problems = violations(pipeline, seed, default_model=default_model, prices=prices)
    for where, one in (("", pipeline), *((f"{path}.", inner) for path, inner in contained(pipeline))):
        for i, task in enumerate(one.tasks if servers is not None else ()):
            wrong = [problem for name in task.tools if (problem := tool_problem(name, servers or {}))]
            problems += [
                Violation(f"{where}tasks[{i}].tools", f"task {task.name!r}: {problem}") for problem in wrong
            ]
    if problems:
        raise InvalidPipeline("the pipeline cannot run:" if len(problems) > 1 else "", violations=problems)


def violations(
    pipeline: Pipeline,
    seed: Seed | None = None,
    *,
    default_model: str = DEFAULT_MODEL,
    prices: PriceBook = LIST_PRICES,
) -> list[Violation]:
    """The violations of a pipeline. Their lines are lines of the template or the code."""
    problems: list[Violation] = []
    if pipeline.llm.model is not None and (problem := ref_problem(pipeline.llm.model)):
        problems.append(Violation("llm.model", problem))
    for i, task in enumerate(pipeline.tasks):
        problems.extend(_task_violations(pipeline, i, task, seed, default_model, prices))
        problems.extend(_inner_violations(i, task, seed, default_model, prices))
    problems.extend(check_templates(pipeline, None if seed is None else seed.data))
    return problems


def _model_violations(
    pipeline: Pipeline,
    task: Task,
    model: str,
    place: str | None,
    prices: PriceBook,
    *,
    is_asked: bool = False,
) -> Iterator[Violation]:
    """What is wrong with a model of a task, which the task names at `place`. `is_asked` for sure, by Python too."""
    problem = ref_problem(model)
    if problem is not None and place is not None:
        yield Violation(place, f"task {task.name!r}: {problem}")
    elif (is_asked or task.kind == "prompt") and (problem := answers_problem(model)) is not None:
        yield Violation(place or "llm.model", f"task {task.name!r}: {problem}")
    elif (
        problem is None
        and (is_asked or task.kind in ASKS_MODEL)
        and (task.budget.usd is not None or pipeline.budget.usd is not None)
        and prices.lacks_price(model)
    ):
        yield Violation(
            place or "budget.usd",
            f"task {task.name!r}: the price of {model} is unknown, so `budget.usd` cannot be kept; "
            "use `budget.tokens`",
        )


def _inner_violations(
    i: int, task: Task, seed: Seed | None, default_model: str, prices: PriceBook
) -> list[Violation]:
    """The violations of the pipeline that a task runs. What its seed looks like is known where it is that of the
    run."""
    if (inner := pipeline_in(task)) is None:
        return []
    found = violations(inner, seed if task.seed is None else None, default_model=default_model, prices=prices)
    return [
        violation._replace(
            where=f"tasks[{i}].pipeline.{violation.where}",
            message=f"task {task.name!r}: in pipeline {inner.name!r}: {violation.message}",
        )
        for violation in found
    ]


def _input_violations(path: str, task: Task, model: str, seed: Seed | None) -> Iterator[Violation]:
    """What is wrong with the text or the files that a task shows to a model."""
    if task.embed is not None and (problem := embeddings_problem(model)) is not None:
        yield Violation(f"{path}.embed", f"task {task.name!r}: {problem}")
    if task.images and (problem := images_problem(model)) is not None:
        yield Violation(f"{path}.images", f"task {task.name!r}: {problem}")
    if task.files and (problem := task_files_problem(task, model, seed)) is not None:
        yield Violation(f"{path}.files", f"task {task.name!r}: {problem}")


def _tier_violations(task: Task, model: str, llm: LLM, place: str | None) -> Iterator[Violation]:
    """What is wrong with a service tier that is set at `place`, of the pipeline's settings where that is None."""
    if ref_problem(model) is None and (problem := tier_problem(model, llm.service_tier)) is not None:
        yield Violation(place or "llm.service_tier", f"task {task.name!r}: {problem}")


def _task_violations(
    pipeline: Pipeline, i: int, task: Task, seed: Seed | None, default_model: str, prices: PriceBook
) -> list[Violation]:
    problems: list[Violation] = []
    path = f"tasks[{i}]"
    for where, one in task.variant_places:
        for n, llm in enumerate(pipeline.llms_of(one)):
            place, model = f"{path}.{where}{one.llm_place(n)}.model", llm.model or default_model
            problems += _model_violations(pipeline, one, model, place if one.llms[n].model else None, prices)
            problems += _input_violations(path, task, model, seed)
            is_last = (
                n == len(one.llms) - 1 > 0
            )  # of a cascade: nothing is decided by the confidence of its answer
            if task.confidence is not None and not is_last and (wrong := logprobs_problem(model, llm.effort)):
                problems.append(Violation(f"{path}.confidence", f"task {task.name!r}: {wrong}"))
            if task.kind in ASKS_MODEL and task.embed is None and task.mode != "batch":
                place = f"{path}.{where}{one.llm_place(n)}.service_tier"
                problems += _tier_violations(task, model, llm, place if one.llms[n].service_tier else None)
    problems = list(dict.fromkeys(problems))  # what variants leave to the task is said once
    for n, scorer in enumerate(task.scorers):
        if scorer.judge is not None:
            own = scorer.llm.model
            asked = own or pipeline.llm.model or pipeline.llm_of(task).model or default_model
            its_place = f"{path}.{task.scorer_place(n)}.llm.model" if own else None
            problems += _model_violations(pipeline, task, asked, its_place, prices, is_asked=True)
            own_tier = f"{path}.{task.scorer_place(n)}.llm.service_tier" if scorer.llm.service_tier else None
            problems += _tier_violations(task, asked, scorer.llm.over(pipeline.llm), own_tier)
    if task.mode == "batch":
        model = pipeline.llm_of(task).model or default_model
        if ref_problem(model) is None and (problem := batch_problem(model)):
            problems.append(Violation(f"{path}.mode", f"task {task.name!r}: {problem}"))
    if task.source is not None:
        try:
            # Finds what parsing alone does not, such as `return` outside of a function. Nothing is run.
            compile(task.source, f"<po_task {task.name}>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            message = getattr(error, "msg", None) or str(error)
            problems.append(
                Violation(f"{path}.source", f"task {task.name!r}: the Python does not compile: {message}", line)
            )
        else:
            problems += [
                Violation(
                    f"{path}.source",
                    f"task {task.name!r}: `{misspelt.function}` is not a stage, and nothing calls it; "
                    f"did you mean `{misspelt.stage}`?",
                    misspelt.line,
                )
                for misspelt in misspelt_stages(task.source)
            ]
    return problems
