"""Preflight: what is checked before a run starts, beside its definition: the keys and programs of its models (R2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidEnvironment
from po_jupyter.llm.credentials.availability import EnvironmentProblem, model_problems, models_used
from po_jupyter.llm.credentials.team import GATEWAY_BATCHES, is_of_team, prices_by_provider
from po_jupyter.llm.specs import spec_of, specs
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.contained import contained
from po_jupyter.model.values.json import JsonObject
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

    def check(self, pipeline: Pipeline, owner: str, *, model: str | None = None, skip: bool = False) -> None:
        """Raises InvalidEnvironment unless the run or the settings skip that, which no shared run may."""
        wanted = self._environment_counts() and not (skip or self._settings.skip_validation)
        if wanted or self._settings.hub_behalf:
            check(pipeline, self._settings, self._keys.of(owner), model)

    def addresses(self, owner: str) -> dict[str, str]:
        """The variables that say where providers are asked, as runs have them: the list of prices holds at a vendor's
        own addresses only."""
        if not self._environment_counts():
            return {}
        environ, _ = self._keys.of(owner).environment(self._settings.worker_env)
        return {spec.base_env: environ[spec.base_env] for spec in specs().values() if spec.base_env in environ}

    def team_prices(self, owner: str) -> dict[str, JsonObject]:
        """What the gateway of a hub says of the prices of providers that an owner's runs ask through it."""
        keys = self._keys.of(owner)
        if keys.team is None or not self._environment_counts():
            return {}
        environ, _ = keys.environment(self._settings.worker_env)
        return prices_by_provider(keys.catalogue(), environ, keys.team.url)

    def warnings(self, pipeline: Pipeline, owner: str, model: str | None = None) -> list[str]:
        """Everything that is wrong with the environment of a run, for people; nothing is refused."""
        if not self._environment_counts():
            return []
        return warnings(pipeline, self._settings, self._keys.of(owner), model)


def run_problems(
    pipeline: Pipeline, settings: Settings, keys: KeyStore, model: str | None = None
) -> list[EnvironmentProblem]:
    """Everything that is wrong with the environment of a run. Blocks: call it in a thread."""
    environ, refused = keys.environment(settings.worker_env)
    problems = model_problems(
        pipeline, environ=environ, settings=settings, model=model, refused=refused, team=keys.catalogue()
    )
    problems = [*_batches_beside_gateway(pipeline, settings, environ, model), *problems]
    return [*_not_of_team(pipeline, settings, environ, model), *problems] if settings.hub_behalf else problems


def _batches_beside_gateway(
    pipeline: Pipeline, settings: Settings, environ: Mapping[str, str], model: str | None
) -> Iterator[EnvironmentProblem]:
    """Tasks with `mode: batch` whose provider is asked through the gateway, which takes no batches of it."""
    for path, one in (("", pipeline), *((f"{path}.", inner) for path, inner in contained(pipeline))):
        for i, task in enumerate(one.tasks):
            ref = model or one.llm_of(task).model or settings.default_model
            spec = spec_of(ref.partition(":")[0]) if task.mode == "batch" else None
            if spec is None or not spec.batch or spec.name in GATEWAY_BATCHES:
                continue
            if is_of_team(spec, environ, settings.hub_url):
                message = (
                    f"pipeline {one.name!r}, task {task.name!r}: the hub's gateway takes batches of "
                    f"{', '.join(GATEWAY_BATCHES)}, and none of {spec.name}: leave `mode: batch` out, so that rows "
                    "are asked one by one, or name a model of those"
                )
                yield EnvironmentProblem(f"{path}tasks[{i}].mode", message, spec.name)


def _not_of_team(
    pipeline: Pipeline, settings: Settings, environ: Mapping[str, str], model: str | None
) -> Iterator[EnvironmentProblem]:
    """The models that a shared run may not ask: those that are not asked through the gateway, where limits hold."""
    for use in models_used(pipeline, settings.default_model, model):
        spec = spec_of(use.provider)
        if spec is None or not is_of_team(spec, environ, settings.hub_url):
            message = (
                f"{use.ref} is not asked through the hub's gateway: shared runs ask the team's models alone"
            )
            yield EnvironmentProblem(use.where, message, use.provider)


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
