"""Submissions: the body of `POST runs`, parsed, checked whole, and turned into the run that the store makes durable."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, InvalidPipeline, InvalidSeed, Violation
from po_jupyter.errors.fields import MAX_VIOLATIONS
from po_jupyter.llm.providers.refs import ref_problem
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline, RunBudget
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of, without_most_unknown
from po_jupyter.model.run.contained import inlined, names_pipelines, task_paths
from po_jupyter.model.run.definition import MAX_LABELS, RunDefinition, RunOptions
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import new_run_id
from po_jupyter.model.run.seed import Seed, read_seed
from po_jupyter.model.values.chunked_json import json_chunks
from po_jupyter.model.values.json import JsonValue
from po_jupyter.orchestrator.environment.interpreters import check_modules, check_scorers, problem_of
from po_jupyter.orchestrator.environment.permission import check_may_choose, check_may_run
from po_jupyter.orchestrator.examination.operations import (
    Examination,
    Examine,
    examine_here,
    located,
    run_budget,
)
from po_jupyter.orchestrator.workers.shareable import is_plain
from po_jupyter.store.protocol import Head, NewRun, RunStore
from po_jupyter.telemetry import tracing
from po_jupyter.telemetry.correlation import actor, request_id

RunLabel = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]


class SubmittedOptions(BaseModel):
    """The options of a submission, validated; see `RunOptions`, which has the same fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1)] | None = None
    fresh: bool = False
    cache: Literal[False, "refresh"] | None = None
    skip_validation: bool = False
    model: Annotated[str, Field(max_length=300)] | None = None
    labels: Annotated[tuple[RunLabel, ...], Field(max_length=MAX_LABELS)] = ()

    @field_validator("model")
    @classmethod
    def _is_a_model(cls, value: str | None) -> str | None:
        if value is not None and (problem := ref_problem(value)):
            raise ValueError(problem)
        return value

    def run_options(self) -> RunOptions:
        """The options as the run keeps them."""
        return RunOptions(**dict(self))


class Submission(BaseModel):
    """The body of `POST runs`. `interpreter` and `cwd` are absolute paths on the orchestrator's machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: Any = None
    seed: Any = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    budget: RunBudget | None = None
    interpreter: Annotated[str, Field(max_length=4096)] | None = None
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    options: SubmittedOptions = SubmittedOptions()


# -- reading --------------------------------------------------------------------------------------


def read_submission(body: object, *, code_allowed: bool) -> Submission:
    """The submission that a decoded body is. Looks at the disk: call it in a thread.

    Raises InvalidInput with every violation, Forbidden.
    """
    submission = parse_submission(body)
    violations: list[Violation] = []
    check_may_choose(interpreter=submission.interpreter, cwd=submission.cwd, code_allowed=code_allowed)
    if submission.interpreter is not None and (problem := problem_of(submission.interpreter)) is not None:
        violations.append(Violation("interpreter", problem))
    if submission.cwd is not None and not (os.path.isabs(submission.cwd) and os.path.isdir(submission.cwd)):
        problem = f"there is no directory {submission.cwd!r}; give an absolute path"
        violations.append(Violation("cwd", problem))
    if violations:
        raise InvalidInput("the run cannot be started:", violations=violations)
    return submission


def parse_submission(body: object) -> Submission:
    """A body's fields; looks at nothing but the body. Raises InvalidInput."""
    if not isinstance(body, dict):
        raise InvalidInput("the body is an object with `pipeline` and `seed`")
    try:
        return Submission.model_validate(without_most_unknown(body, Submission.model_fields))
    except ValidationError as error:
        raise InvalidInput(
            "the run cannot be started:",
            violations=violations_of(error, known=tuple(Submission.model_fields), what="a submission"),
        ) from None


def redeemed_run(store: RunStore, body: object, owner: str) -> Head | None:
    """The run that this very body made before, by its idempotency key; None when it is none that did.

    Nothing is checked again: whoever lost the answer gets it, even when the module, the registered pipeline or the
    directory that the run was made from is gone meanwhile (R3.3). Blocks on the store.
    """
    key = body.get("idempotency_key") if isinstance(body, dict) else None
    if not isinstance(key, str) or (redeemed := store.redeemed(owner, key)) is None:
        return None
    head, body_hash = redeemed
    try:
        return head if request_hash(parse_submission(body)) == body_hash else None
    except InvalidInput:
        return None


def request_hash(submission: Submission) -> str:
    """A digest of the whole request as it came: a repeat of the request has the same."""
    large = {"pipeline": submission.pipeline, "seed": submission.seed}
    small = submission.model_dump(mode="json", exclude={"idempotency_key", *large})
    if not submission.options.labels:  # as it was before there were any
        del small["options"]["labels"]
    digest = hashlib.sha256()
    for piece in json_chunks({**small, **large}, sort_keys=True):
        digest.update(piece.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


# -- checking -------------------------------------------------------------------------------------


def check_submission(
    submission: Submission,
    registered: Callable[[str], Pipeline],
    *,
    code_allowed: bool,
    name: str | None = None,
    modules: bool = True,
    settings: Settings | None = None,
    examine: Examine | None = None,
) -> tuple[Pipeline, Seed]:
    """Pipeline and seed, checked with everything that can be known before the run starts. `name` is the one that the
    pipeline must have, if any. With `modules` also that the run's interpreter finds the modules of its Python tasks.
    `examine` reads and checks the definition; without it that is done here.

    Raises InvalidPipeline, InvalidSeed, NotFound (no such registered pipeline), Forbidden. When both
    pipeline and seed are wrong, one InvalidInput has the violations of both.
    """
    examine = examine or (lambda examination: examine_here(examination, settings))
    pipeline, seed = _pipeline_and_seed(submission, registered, examine, name)
    check_may_run(
        pipeline, settings or Settings(), code_allowed=code_allowed, model=submission.options.model,
        interpreter=submission.interpreter, cwd=submission.cwd,
    )  # fmt: skip
    check_task_budgets(submission.budget, pipeline)
    if modules:
        check_modules(pipeline, submission.interpreter, submission.cwd)
        check_scorers(pipeline, submission.interpreter)
    return pipeline, seed


def _pipeline_and_seed(
    submission: Submission, registered: Callable[[str], Pipeline], examine: Examine, name: str | None
) -> tuple[Pipeline, Seed]:
    """Both, read and checked; their violations are raised together."""
    errors: list[InvalidInput] = []
    pipeline: Pipeline | None = None
    seed: Seed | None = None
    try:
        seed = read_seed(submission.seed)
    except InvalidSeed as error:
        errors.append(error)
    definition = submission.pipeline
    if definition is None and seed is not None:
        definition = seed.pipeline
    try:
        if definition is not None:
            pipeline = checked_definition(
                definition, registered, examine,
                name=name, data=None if seed is None else seed.data, model=submission.options.model,
                budget=submission.budget,
            )  # fmt: skip
        elif seed is not None:
            raise InvalidPipeline("no pipeline: give a definition, or the name of a registered one")
    except InvalidInput as error:
        errors.append(error)
    if len(errors) > 1:
        raise InvalidInput(
            "pipeline and seed cannot be used:",
            violations=[v for e in errors for v in (e.violations or [Violation("", e.message)])],
        )
    if errors:
        raise errors[0]
    assert pipeline is not None
    assert seed is not None
    return pipeline, seed


def checked_definition(
    definition: object,
    registered: Callable[[str], Pipeline],
    examine: Examine,
    *,
    name: str | None = None,
    data: Mapping[str, JsonValue] | None = None,
    model: str | None = None,
    budget: RunBudget | None = None,
) -> Pipeline:
    """The pipeline that a definition is, which can run: a name (looked up with `registered`), YAML text of several
    lines, or decoded JSON. `name` is the one that it must have, `data` is the seed's.

    Raises InvalidPipeline, and what `registered` raises.
    """
    by_name = isinstance(definition, str) and "\n" not in definition
    if by_name:
        definition = registered(str(definition))
    if isinstance(definition, Pipeline):
        definition = definition.to_json()
    request: Examination = {
        "what": "check", "definition": definition, "recorded": by_name, "name": name, "data": data,
        "model": model,
        "budget": budget.model_dump(exclude_none=True) if budget is not None else {},
    }  # fmt: skip
    pipeline = validate_pipeline(examine(request), recorded=True)
    if not names_pipelines(pipeline):
        return pipeline
    try:  # what they run is known only here, and checked like all else
        whole = inlined(pipeline, registered)
        return validate_pipeline(
            examine({**request, "definition": whole.to_json(), "recorded": True}), recorded=True
        )
    except InvalidPipeline as error:
        raise located(error, definition) from None


def with_budget(submission: Submission, pipeline: Pipeline) -> Pipeline:
    """The pipeline with the budget of the submission over its own."""
    submitted = submission.budget.model_dump(exclude_none=True) if submission.budget else {}
    return pipeline.model_copy(update={"budget": run_budget(pipeline, submitted)})


def check_task_budgets(budget: RunBudget | None, pipeline: Pipeline) -> None:
    """Every task that a budget names is one of the pipeline, or of one in it. Raises InvalidInput."""
    if budget is None or not budget.tasks:
        return
    names = list(task_paths(pipeline))
    if unknown := budget.tasks.keys() - set(names):
        named = [(name, did_you_mean(name, names)) for name in islice(unknown, MAX_VIOLATIONS)]
        raise InvalidInput(
            violations=[Violation(f"budget.tasks.{n}", f"there is no task {n!r}{meant}") for n, meant in named]
        )


# -- planning -------------------------------------------------------------------------------------


def new_run(
    submission: Submission, pipeline: Pipeline, seed: Seed, owner: str, *, code_allowed: bool = True
) -> NewRun:
    """The run that `create_run` makes durable. `code_allowed` is kept: models that the run's code names while it runs
    can be checked by nobody before."""
    budget = {
        k: v for k, v in with_budget(submission, pipeline).budget.model_dump(exclude_none=True).items() if v
    }
    definition = RunDefinition(
        pipeline=pipeline.to_json(),
        seed={name: value for name, value in seed if value is not None},  # JSON already, and perhaps large
        interpreter=submission.interpreter,
        cwd=submission.cwd,
        options=submission.options.run_options(),
        code_allowed=code_allowed,
    )
    created = draft(
        "run.created", name=seed.name, pipeline=pipeline.name, version=pipeline.version,
        tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks], owner=owner, budget=budget,
        request=request_id.get(),
    )  # fmt: skip
    if by := actor.get():
        created["data"]["by"] = by
    if (trace := tracing.traceparent()) is not None:
        created["data"]["trace"] = trace
    return NewRun(
        run=new_run_id(), owner=owner, pipeline=pipeline.name, version=pipeline.version, name=seed.name,
        priority=submission.priority, definition=definition.to_json(), events=[created],
        idempotency_key=submission.idempotency_key,
        request_hash=request_hash(submission) if submission.idempotency_key else "",
        shareable=is_plain(definition),
    )  # fmt: skip
