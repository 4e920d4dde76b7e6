"""The examinations themselves: reading and checking a definition, estimating a run. JSON in, JSON out.

They render templates, walk schemas and parse texts that anybody may have written, so they may take for ever and all the
memory: the orchestrator has them done by a child (`examiner`), tests and other systems there and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import line_finder, parse_pipeline, validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, RunBudget, Task
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.rendering import CallToRender, render
from po_jupyter.orchestrator.examination.scoring import expected_answers, score_rows


class Examination(TypedDict, total=False):
    """A request for one.

    what        `parse`: the definition is one; `check`: it can run too; `analyse`: what it does and leaves, and what
                `seed` looks like; `estimate`: what a run of it comes to, with the analysis; `render`: the messages of
                the call `call`; `score`: the scores of `rows` by the scorers of the one task of `definition`;
                `expect`: what they expect of the one of `rows`
    definition  YAML text or JSON; for `analyse` and `estimate` a checked one
    recorded    the definition was parsed before, by this version or an older one
    name        the name that it must have
    data        the seed's, None when there is no seed to check with; to a child goes what names are checked against
    model       the one in the place of all that it names
    budget      the run's, over the definition's
    seed        `{name, data}` for `analyse`, `estimate` and `render`, with references to files of rows
    owner       whose these files are
    limit       rows of each map at most
    addresses   base URLs of providers by their variables, where they are others than the vendors'
    team_prices what the gateway of a hub says of the prices of providers that are asked through it, by provider
    """

    what: Literal["parse", "check", "analyse", "estimate", "render", "score", "expect"]
    definition: object
    recorded: bool
    name: str | None
    data: Mapping[str, object] | None
    model: str | None
    budget: JsonObject
    seed: JsonObject
    owner: str
    limit: int | None
    addresses: Mapping[str, str]
    team_prices: Mapping[str, JsonObject]
    call: CallToRender
    rows: list[list[Any]]


# The pipeline for `parse` and `check`, as JSON where another process has read it; else what was made of it. Raises
# what is wrong with the definition: InvalidInput, InvalidPipeline. It blocks.
Examine: TypeAlias = Callable[[Examination], Pipeline | JsonObject]


def examine_here(examination: Examination, settings: Settings | None = None) -> Pipeline | JsonObject:
    """Do an examination in this process: the pipeline for `parse` and `check`, else what was made of it.

    Without `settings` names of tools are not checked. Raises InvalidInput, InvalidPipeline.
    """
    if (work := _WORK.get(examination["what"])) is not None:
        assert settings is not None
        return work(examination, settings)
    definition = examination["definition"]
    name = examination.get("name")
    if isinstance(definition, str):
        pipeline = parse_pipeline(definition, name=name)
    else:
        pipeline = validate_pipeline(definition, name=name, recorded=examination.get("recorded", False))
    if examination["what"] == "check":
        try:
            _check(pipeline, examination, settings)
        except InvalidPipeline as error:
            raise located(error, definition) from None
    return pipeline


def located(error: InvalidPipeline, text: object) -> InvalidPipeline:
    """The error with lines of the text, which are otherwise those of a template in it; as it is without a text."""
    if not isinstance(text, str):
        return error
    find_line = line_finder(text)
    violations = [violation._replace(line=find_line(violation)) for violation in error.violations]
    before = error.message.removesuffix("\n".join(map(str, error.violations))).strip()  # each is said once
    return InvalidPipeline(before, hint=error.hint, violations=violations)


def as_json(result: Pipeline | JsonObject) -> JsonObject:
    """The result of an examination as it goes from process to process."""
    return result.to_json() if isinstance(result, Pipeline) else result


def run_budget(pipeline: Pipeline, submitted: Mapping[str, Any]) -> RunBudget:
    """The pipeline's budget, with what the submission says in its place."""
    return RunBudget.model_validate({**pipeline.budget.model_dump(exclude_none=True), **submitted})


def _check(pipeline: Pipeline, examination: Examination, settings: Settings | None) -> None:
    from po_jupyter.engine.planning.check import DEFAULT_MODEL, check
    from po_jupyter.llm.money.pricing import PriceBook
    from po_jupyter.llm.money.team_prices import TeamPrices

    effective = _with_model(pipeline, examination.get("model"))
    budget = run_budget(pipeline, examination.get("budget") or {})
    data = examination.get("data")
    check(
        effective.model_copy(update={"budget": budget}),
        None if data is None else Seed.model_construct(name="seed", data=dict(data)),
        default_model=DEFAULT_MODEL if settings is None else settings.default_model,
        servers=None if settings is None else settings.mcp_servers,
        prices=PriceBook(
            None if settings is None else settings.prices, team=TeamPrices(examination.get("team_prices"))
        ),
    )


def _with_model(pipeline: Pipeline, model: str | None) -> Pipeline:
    """The pipeline as it runs when `model` is used everywhere."""
    if model is None:
        return pipeline
    tasks = tuple(_task_with_model(task, model) for task in pipeline.tasks)
    llm = pipeline.llm.model_copy(update={"model": model})
    return pipeline.model_copy(update={"llm": llm, "tasks": tasks})


def _task_with_model(task: Task, model: str) -> Task:
    changed: JsonObject = {"llm": task.llms[0].model_copy(update={"model": model})}
    if task.variants is not None:
        changed["variants"] = {
            name: None if variant is None else variant.model_copy(update={"llm": None})
            for name, variant in task.variants.items()
        }
    return task.model_copy(update=changed)


def _analyse(examination: Examination, settings: Settings) -> JsonObject:
    from po_jupyter.engine.planning.analysis import analyse
    from po_jupyter.store.files.row_files import RowFiles

    pipeline = validate_pipeline(examination["definition"], recorded=True)
    seed = examination.get("seed")
    data = RowFiles(settings.data_dir).with_rows(examination["owner"], seed["data"]) if seed else None
    return {**analyse(pipeline, data)}


def _estimate(examination: Examination, settings: Settings) -> JsonObject:
    from po_jupyter.engine.planning.analysis import analyse
    from po_jupyter.engine.planning.estimate import estimate_run
    from po_jupyter.llm.money.pricing import PriceBook
    from po_jupyter.llm.money.team_prices import TeamPrices
    from po_jupyter.llm.specs import addresses_in
    from po_jupyter.store.files.row_files import RowFiles

    pipeline = validate_pipeline(examination["definition"], recorded=True)
    seed = Seed.model_validate(examination["seed"])
    data = RowFiles(settings.data_dir).with_rows(examination["owner"], seed.data)
    estimate = estimate_run(
        pipeline, seed, data, settings=settings,
        limit=examination.get("limit"), model=examination.get("model"),
        prices=PriceBook(
            settings.prices, base_url=addresses_in(examination.get("addresses") or {}), hub_url=settings.hub_url,
            team=TeamPrices(examination.get("team_prices")),
        ),
    )  # fmt: skip
    return {**estimate, "analysis": analyse(pipeline, data)}


def _render(examination: Examination, settings: Settings) -> JsonObject:
    definition = examination["definition"]
    assert isinstance(definition, Mapping)
    return render(definition, examination["seed"]["data"], examination["call"], settings)


def _score(examination: Examination, settings: Settings) -> JsonObject:
    definition = examination["definition"]
    assert isinstance(definition, Mapping)
    return score_rows(definition, examination["seed"], examination["owner"], examination["rows"], settings)


def _expect(examination: Examination, settings: Settings) -> JsonObject:
    definition = examination["definition"]
    assert isinstance(definition, Mapping)
    (row,) = examination["rows"]
    return expected_answers(definition, examination["seed"], examination["owner"], row, settings)


_WORK: Mapping[str, Callable[[Examination, Settings], JsonObject]] = {
    "analyse": _analyse,
    "estimate": _estimate,
    "render": _render,
    "score": _score,
    "expect": _expect,
}
