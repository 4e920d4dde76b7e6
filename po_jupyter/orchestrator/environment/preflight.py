"""What is looked at before a run starts, beside its definition: the keys and programs of its models, and who may
use those that run commands (R2.5; DESIGN, Doors)."""

from __future__ import annotations

from collections.abc import Sequence

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden, InvalidEnvironment
from po_jupyter.llm.credentials.availability import EnvironmentProblem, environment_problems, models_used
from po_jupyter.llm.providers.refs import runs_code
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.orchestrator.environment.key_store import Keys


def found(
    pipeline: Pipeline, settings: Settings, keys: Keys, model: str | None = None
) -> list[EnvironmentProblem]:
    """Everything that is wrong with the environment of a run. Blocks: call it in a thread."""
    environ, refused = keys.environment(settings.inherited)
    return environment_problems(pipeline, environ=environ, settings=settings, model=model, refused=refused)


def check(pipeline: Pipeline, settings: Settings, keys: Keys, model: str | None = None) -> None:
    """Refuse a run whose models cannot be used here. Raises InvalidEnvironment with everything that is wrong."""
    errors = [problem for problem in found(pipeline, settings, keys, model) if not problem.warning]
    if not errors:
        return
    missing = {p.variable: p.provider for p in errors if p.variable}
    raise InvalidEnvironment(
        "the run cannot start:",
        violations=[problem.violation for problem in errors],
        hint="To start it all the same: --skip-validation (skip_validation=True); what is missing then fails when "
        "it is needed.",
        details={"missing": [{"provider": name, "variable": variable} for variable, name in missing.items()]},
    )


def warnings(pipeline: Pipeline, settings: Settings, keys: Keys, model: str | None = None) -> list[str]:
    """The same in words, warnings too; nothing is refused."""
    return [problem.message for problem in found(pipeline, settings, keys, model)]


def check_code(pipeline: Pipeline, settings: Settings, *, code_allowed: bool, model: str | None = None) -> None:
    """Only who may run code asks a CLI agent. Raises Forbidden that names it."""
    agents = [] if code_allowed else agents_of(pipeline, settings, model)
    if agents:
        raise Forbidden(
            f"{', '.join(agents)} may run commands where the orchestrator runs: that needs the scope code:run",
            hint="Use another model, or ask whoever runs this server for the scope.",
            details={"scope": "code:run"},
        )


def agents_of(pipeline: Pipeline, settings: Settings, model: str | None = None) -> Sequence[str]:
    """The models of a pipeline that may run commands, of all that it names, used or not."""
    named = [use.ref for use in models_used(pipeline, settings.default_model, model)]
    named += [llm.model for llm in (pipeline.llm, *(t.llm for t in pipeline.tasks)) if llm.model is not None]
    return [ref for ref in dict.fromkeys(named) if runs_code(ref)]
