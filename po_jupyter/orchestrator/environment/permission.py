"""Permission to run code: the one question before whatever starts a run, goes on with one, or registers a pipeline.

Who lacks the scope `code:run` chooses prompts and data, and nothing that runs: no Python, no interpreter, no directory
that modules are found in, no model that runs commands; and no file of this machine as a model. It does not matter who
wrote the code: who restarts a run of somebody with the scope has its code run as much as its author.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden
from po_jupyter.llm.credentials.availability import models_used
from po_jupyter.llm.providers.refs import names_file, runs_code
from po_jupyter.model.pipeline.pipeline import LLM, Pipeline
from po_jupyter.model.run.contained import contained

SCOPE = "code:run"


def check_may_run(
    pipeline: Pipeline,
    settings: Settings,
    *,
    code_allowed: bool,
    model: str | None = None,
    interpreter: str | None = None,
    cwd: str | None = None,
) -> None:
    """Raises Forbidden when a caller may not run this pipeline. `code_allowed`: they have the scope `code:run`.

    `model` is used in the place of all that the pipeline names; `interpreter` and `cwd` are those of the run. A broken
    plugin of a provider counts as one that runs commands. Imports the plugins of providers: call it in a thread.
    """
    for one in () if code_allowed else (pipeline, *(inner for _, inner in contained(pipeline))):
        for objection in _objections(one, settings, model, interpreter, cwd):
            raise objection


def check_may_choose(*, interpreter: str | None, cwd: str | None, code_allowed: bool) -> None:
    """Raises Forbidden when a submission names what only somebody with the scope may, whatever its tasks are."""
    for objection in () if code_allowed else _choices(interpreter, cwd):
        raise objection


def _objections(
    pipeline: Pipeline, settings: Settings, model: str | None, interpreter: str | None, cwd: str | None
) -> Iterator[Forbidden]:
    if any(t.source is not None for t in pipeline.tasks):
        yield _forbidden("this orchestrator runs no code that comes with a pipeline (`source`)")
    if any(t.carries_code for t in pipeline.tasks):
        yield _forbidden(
            "this orchestrator runs no code that comes with a pipeline (`output_type`: the validators of a class)",
            "output=Class.model_json_schema() is judged by the schema alone.",
        )
    if any(t.kind == "python" for t in pipeline.tasks):
        yield from _choices(interpreter, cwd)
    if files := [ref for ref in _named(pipeline, model) if names_file(ref)]:
        yield _forbidden(
            f"{', '.join(files)} is a file where the orchestrator runs: that needs the scope {SCOPE}",
            "Use a local model by its name, or ask the administrator of this server for the scope.",
        )
    agents = agents_of(pipeline, settings, model)
    if agents:
        yield _forbidden(
            f"{', '.join(agents)} may run commands where the orchestrator runs: that needs the scope {SCOPE}",
            "Use another model, or ask the administrator of this server for the scope.",
        )


def _choices(interpreter: str | None, cwd: str | None) -> Iterator[Forbidden]:
    if interpreter is not None:
        yield _forbidden("this orchestrator does not let a run choose its interpreter")
    if cwd is not None:
        # Whoever chooses the directory chooses what a module's name means there.
        yield _forbidden("this orchestrator does not let a run choose the directory of its modules (`cwd`)")


def _forbidden(
    message: str, hint: str = "Ask the administrator of this server for the scope code:run."
) -> Forbidden:
    return Forbidden(message, hint=hint, details={"scope": SCOPE})


def agents_of(pipeline: Pipeline, settings: Settings, model: str | None = None) -> Sequence[str]:
    """The models of a pipeline that may run commands, of all that it names, used or not."""
    named = [use.ref for use in models_used(pipeline, settings.default_model, model)]
    return [ref for ref in dict.fromkeys((*named, *_named(pipeline, model))) if runs_code(ref)]


def _named(pipeline: Pipeline, model: str | None) -> Sequence[str]:
    """The models that a submission names, used or not."""
    named = [model, *(llm.model for llm in (pipeline.llm, *_llms(pipeline)))]
    return [ref for ref in dict.fromkeys(named) if ref is not None]


def _llms(pipeline: Pipeline) -> Iterator[LLM]:
    """The model settings of all tasks, those of judges too."""
    for task in pipeline.tasks:
        yield from task.llms
        for one in task.variant_tasks:
            yield from one.llms
        yield from (scorer.llm for scorer in task.scorers)
