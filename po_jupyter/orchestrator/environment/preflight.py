"""Preflight: what is checked before a run starts, beside its definition. The keys and programs of its models (R2.5),
and the permission to use models that run commands (DESIGN, Doors)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden, InvalidEnvironment
from po_jupyter.llm.credentials.availability import EnvironmentProblem, model_problems, models_used
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.providers.refs import runs_code
from po_jupyter.llm.specs import addresses_in
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.orchestrator.environment.key_store import KeyStore


class Preflight:
    """The checks of one orchestrator. They block: call them in a thread.

    `environment_counts` tells whether runs see this process's environment; where they do not (another server has the
    workers), it is not looked at. `model` is the one that a run uses in the place of all that its pipeline names.
    """

    def __init__(self, settings: Settings, keys: KeyStore, environment_counts: Callable[[], bool]) -> None:
        """See the class."""
        self._settings = settings
        self._keys = keys
        self._environment_counts = environment_counts

    def check(
        self, pipeline: Pipeline, *, model: str | None = None, code_allowed: bool, skip: bool = False
    ) -> None:
        """Raises Forbidden (`check_code`); InvalidEnvironment unless the run or the settings skip that."""
        self.check_code(pipeline, model=model, code_allowed=code_allowed)
        if self._environment_counts() and not (skip or self._settings.skip_validation):
            check(pipeline, self._settings, self._keys, model)

    def check_code(self, pipeline: Pipeline, *, model: str | None = None, code_allowed: bool) -> None:
        """Raises Forbidden for a CLI agent without the scope for it."""
        check_code(pipeline, self._settings, code_allowed=code_allowed, model=model)

    def prices(self) -> PriceBook:
        """The prices of models at the addresses where runs ask them."""
        environ: Mapping[str, str] = {}
        if self._environment_counts():
            environ, _ = self._keys.environment(self._settings.inherited)
        return PriceBook(self._settings.prices, base_url=addresses_in(environ))

    def warnings(self, pipeline: Pipeline, model: str | None = None) -> list[str]:
        """Everything that is wrong with the environment of a run, for people; nothing is refused."""
        if not self._environment_counts():
            return []
        return warnings(pipeline, self._settings, self._keys, model)


def run_problems(
    pipeline: Pipeline, settings: Settings, keys: KeyStore, model: str | None = None
) -> list[EnvironmentProblem]:
    """Everything that is wrong with the environment of a run. Blocks: call it in a thread."""
    environ, refused = keys.environment(settings.inherited)
    return model_problems(pipeline, environ=environ, settings=settings, model=model, refused=refused)


def check(pipeline: Pipeline, settings: Settings, keys: KeyStore, model: str | None = None) -> None:
    """Refuse a run whose models cannot be used here. Raises InvalidEnvironment with everything that is wrong."""
    errors = [p for p in run_problems(pipeline, settings, keys, model) if not p.warning]
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


def warnings(pipeline: Pipeline, settings: Settings, keys: KeyStore, model: str | None = None) -> list[str]:
    """The messages of all problems, warnings too."""
    return [problem.message for problem in run_problems(pipeline, settings, keys, model)]


def check_code(pipeline: Pipeline, settings: Settings, *, code_allowed: bool, model: str | None = None) -> None:
    """Refuse CLI agents to a caller without the scope code:run. Raises Forbidden that names it."""
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
