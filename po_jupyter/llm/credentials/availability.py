"""The check of a pipeline's models against keys, base URLs and programs of this machine (R2.5). No network call.

Checked are the models that are written down: those of prompt tasks, and those that the pipeline or a Python task
names. Other models that a Python task asks at run time are not known here; such a call fails when it is made.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from po_jupyter.config import Settings
from po_jupyter.errors import Violation
from po_jupyter.llm.credentials.keys import base_url_of
from po_jupyter.llm.credentials.team import HUB, WITHOUT_LOGIN, TeamCatalogue, is_of_team, team_prices
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.providers.catalogue import misspelt_model
from po_jupyter.llm.providers.refs import ref_problem
from po_jupyter.llm.specs import BUILT_IN, Spec, addresses_in, spec_of, specs
from po_jupyter.llm.wire.proxies import network_problems
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.contained import pipeline_in
from po_jupyter.model.values.task_kind import ASKS_MODEL
from po_jupyter.presentation.urls import shown_url

PROGRAMS = {"claude-cli": "claude", "codex-cli": "codex", "opencode-cli": "opencode"}
_TWO_APIS = frozenset({"openai", "azure"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that tasks of a pipeline use. `where` it is written: a path in the pipeline, or a setting."""

    ref: str
    where: str
    tasks: tuple[str, ...]

    @property
    def provider(self) -> str:
        """The part of the ref before the colon."""
        return self.ref.partition(":")[0]


@dataclass(frozen=True, slots=True)
class EnvironmentProblem:
    """Something that is wrong in the environment of a run.

    variable  of the environment: it is not set
    warning   the run may start all the same
    """

    where: str
    message: str
    provider: str = ""
    variable: str = ""
    warning: bool = False

    @property
    def violation(self) -> Violation:
        """The problem as a part of an error."""
        return Violation(self.where, self.message)


def models_used(pipeline: Pipeline, default_model: str, model: str | None = None) -> list[ModelUse]:
    """The models that a run would ask, as far as they are written down. `model` is the run's own."""
    tasks_of: dict[tuple[str, str], list[str]] = {}
    for i, task in enumerate(pipeline.tasks):
        if task.kind == "pipeline":
            inner = pipeline_in(task)
            for use in models_used(inner, default_model, model) if inner is not None else ():
                inside = use.where not in ("options.model", "default_model")
                where = f"tasks[{i}].pipeline.{use.where}" if inside else use.where
                tasks_of.setdefault((use.ref, where), []).extend(f"{task.name}.{name}" for name in use.tasks)
            continue
        firsts = dict.fromkeys(
            _first_model(pipeline, one, f"tasks[{i}].{place}", default_model, model)
            for place, one in task.variant_places
        )
        for first in filter(None, firsts):
            tasks_of.setdefault(first, []).append(task.name)
    for i, task in enumerate(pipeline.tasks if model is None else ()):
        later = dict.fromkeys(
            (llm.model, f"tasks[{i}].{place}{one.llm_place(n)}.model")
            for place, one in task.variant_places
            for n, llm in enumerate(one.llms[1:], 1)
        )
        for ref, where in later:
            if ref is not None:
                tasks_of.setdefault((ref, where), []).append(task.name)
        for ref, where in _judges(pipeline, i, task, default_model):
            tasks_of.setdefault((ref, where), []).append(task.name)
    return [ModelUse(ref, where, tuple(tasks)) for (ref, where), tasks in tasks_of.items()]


def _first_model(
    pipeline: Pipeline, task: Task, place: str, default_model: str, model: str | None
) -> tuple[str, str] | None:
    """The model that is asked first, and where it is named; None for Python that names none: it may never ask one. The
    model of a run is one that answers: embeddings keep their own."""
    if model is not None and task.embed is None:
        return model, "options.model"
    if (own := task.llms[0].model) is not None:
        return own, f"{place}{task.llm_place(0)}.model"
    if pipeline.llm.model is not None:
        return pipeline.llm.model, "llm.model"
    return (default_model, "default_model") if task.kind in ASKS_MODEL else None


def _judges(pipeline: Pipeline, i: int, task: Task, default_model: str) -> Iterator[tuple[str, str]]:
    """The models of the judges of a task, and where each is named."""
    for n, scorer in enumerate(task.scorers):
        if scorer.llm.model is not None:
            yield scorer.llm.model, f"tasks[{i}].{task.scorer_place(n)}.llm.model"
        elif scorer.judge is not None and task.kind == "python" and task.llms[0].model is None:
            # Python that names no model may never ask one, its judge does.
            yield pipeline.llm.model or default_model, "llm.model" if pipeline.llm.model else "default_model"


def model_problems(
    pipeline: Pipeline,
    *,
    environ: Mapping[str, str],
    settings: Settings,
    model: str | None = None,
    refused: Mapping[str, str] | None = None,
    team: TeamCatalogue | None = None,
) -> list[EnvironmentProblem]:
    """Every problem of a run's models, errors first; a provider's once, with the tasks that it touches.

    `environ` is that of a worker, keys included; `refused` is why a provider's stored key is not in it, `team` what
    the gateway of a hub says.
    """
    problems: list[EnvironmentProblem] = []
    by_provider: dict[str, list[ModelUse]] = {}
    for use in models_used(pipeline, settings.default_model, model):
        if ref_problem(use.ref) is None:
            by_provider.setdefault(use.provider, []).append(use)
        elif use.where in ("default_model", "options.model"):  # the pipeline's own were checked before
            message = f"{_tasks_of(pipeline, [use])}: {ref_problem(use.ref)}"
            problems.append(EnvironmentProblem(use.where, message))
    for name, uses in by_provider.items():
        spec, tasks = spec_of(name), _tasks_of(pipeline, uses)
        if spec is None:
            message = f"{tasks}: the plugin of {name} cannot be loaded"
            problems.append(EnvironmentProblem(uses[0].where, message, name))
            continue
        if team is not None and is_of_team(spec, environ, settings.hub_url):
            problems += _of_team(pipeline, spec, uses, environ, team)
            continue
        if spec.base_url_in(environ) == spec.base_url:
            problems += [
                EnvironmentProblem(
                    use.where,
                    f"{_tasks_of(pipeline, [use])}: {name} has no model `{use.ref.partition(':')[2]}`; "
                    f"did you mean `{suggestion}`?",
                    name,
                )
                for use in uses
                if (suggestion := misspelt_model(use.ref))
            ]
        problems += [
            replace(problem, where=uses[0].where, message=f"{tasks}: {problem.message}", provider=name)
            for problem in provider_problems(spec, environ, settings, refused=(refused or {}).get(name, ""))
        ]
    problems += _superfluous_apis(pipeline)
    problems += _votes_alike(pipeline)
    prices = PriceBook(
        settings.prices,
        base_url=addresses_in(environ),
        hub_url=settings.hub_url,
        team=team_prices(team, environ, settings.hub_url),
    )
    if settings.daily_usd is not None:
        problems += _unpriced(pipeline, by_provider, prices)
    problems += _unpriced_here(pipeline, by_provider, prices, environ)
    return sorted(problems, key=lambda problem: problem.warning)


def _of_team(
    pipeline: Pipeline, spec: Spec, uses: Iterable[ModelUse], environ: Mapping[str, str], team: TeamCatalogue
) -> Iterator[EnvironmentProblem]:
    """The problems of a provider that is asked through the gateway of a hub."""
    tasks = _tasks_of(pipeline, uses)
    for use in uses:
        if team.is_known and use.ref not in team.refs:
            own = f"; or use a key of your own: po keys set {spec.name}" if team.own_keys else ""
            yield EnvironmentProblem(
                use.where, f"{_tasks_of(pipeline, [use])}: {use.ref} is not among your team's models on the hub "
                f"({team.listed()}){own}", spec.name,
            )  # fmt: skip
    if not spec.key_in(environ):
        yield EnvironmentProblem("", f"{tasks}: {spec.name}: {WITHOUT_LOGIN}", spec.name, HUB.key_env)
    elif team.problem:
        prices = "; until then prices are those of the list" if not team.is_known else ""
        yield EnvironmentProblem(
            "", f"{tasks}: {team.problem}: the run waits for it{prices}", spec.name, warning=True
        )


def provider_problems(
    spec: Spec, environ: Mapping[str, str], settings: Settings, *, refused: str = ""
) -> Iterator[EnvironmentProblem]:
    """The problems of one provider; nothing when all is well. `refused` is why its stored key is not used."""
    name = spec.name
    if spec.runs_code:
        program = PROGRAMS.get(name, name)
        if not settings.cli_agents:
            yield EnvironmentProblem(
                "", f"{name} is switched off, a CLI agent may run commands: set PO_CLI_AGENTS=true where the "
                "orchestrator starts", name,
            )  # fmt: skip
        elif shutil.which(program, path=environ.get("PATH")) is None:
            yield EnvironmentProblem(
                "", f"{name} needs the program `{program}`, which is not on the orchestrator's PATH", name
            )
    if name == "local" and find_spec("xllamacpp") is None:
        yield EnvironmentProblem(
            "", "local models need the extra `local`: pip install 'po_jupyter[local]'", name
        )
    if spec.login is not None and not spec.login.is_installed:
        extra = spec.login.extra
        yield EnvironmentProblem(
            "", f"{name} needs the extra `{extra}`: pip install 'po_jupyter[{extra}]'", name
        )
    yield from _key(spec, environ, refused)
    yield from _base_url(spec, environ)
    if (url := base_url_of(spec, environ)) and not spec.runs_code and _http_url(url) is not None:
        for problem in network_problems(url, environ):
            yield EnvironmentProblem("", problem, name)


def _key(spec: Spec, environ: Mapping[str, str], refused: str) -> Iterator[EnvironmentProblem]:
    key = spec.key_in(environ)
    if key and (not (key.isascii() and key.isprintable()) or " " in key):
        yield EnvironmentProblem(
            "", f"{spec.key_env} is not a key: it holds spaces, line breaks or other signs that no key has",
            spec.name,
        )  # fmt: skip
    elif not key and spec.has_login(environ):
        return
    elif not key and refused:
        yield EnvironmentProblem(
            "", f"{refused}: po keys set {spec.name}", spec.name, warning=spec.key_optional
        )
    elif spec.key_env and not key and not spec.key_optional:
        yield EnvironmentProblem(
            "", f"{spec.name} needs a key{' or a login' if spec.login else ''}, and {spec.key_env} is not set where "
            f"the orchestrator runs: po keys set {spec.name}", spec.name, spec.key_env,
        )  # fmt: skip


def _base_url(spec: Spec, environ: Mapping[str, str]) -> Iterator[EnvironmentProblem]:
    url, variable = base_url_of(spec, environ), spec.base_env
    if not url and variable:
        message = (
            f"{spec.name} has no address of its own, and {variable} is not set where the orchestrator runs"
        )
        if spec.region_env:
            message = (
                f"{spec.name} has an address for each region, and {spec.region_env[0]} is not set, or is none, "
            )
            message += "where the orchestrator runs"
        yield EnvironmentProblem("", message, spec.name, variable)
    if not url or not environ.get(variable, "").strip():
        return  # the provider's own
    parts = _http_url(url)
    if parts is None:
        example = spec.base_url or "https://host/v1"
        yield EnvironmentProblem("", f"{variable} is not a URL such as {example}", spec.name)
        return
    shown = shown_url(url)
    if parts.username is not None or parts.password is not None:
        yield EnvironmentProblem(
            "", f"{variable} has a user or password in it: give {shown}, and the key by "
            f"`po keys set {spec.name}`", spec.name,
        )  # fmt: skip
    if parts.query or parts.fragment:
        message = f"{variable} has a ? or # in it, and paths are put behind it: {shown}"
        yield EnvironmentProblem("", message, spec.name)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and environ.get(spec.key_env, "").strip():
        message = f"{variable} is {shown}: the key goes there unencrypted"
        yield EnvironmentProblem("", message, spec.name, warning=True)
    yield from _version_in_path(spec, parts.path.rstrip("/"), shown)


def _http_url(url: str) -> SplitResult | None:
    """The parts of a URL that can be a base URL; None for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    good = parts.scheme in ("http", "https") and bool(parts.hostname) and (port is None or port > 0)
    return parts if good and not re.search(r"[\s\x00-\x1f]", url) else None


def _version_in_path(spec: Spec, path: str, shown: str) -> Iterator[EnvironmentProblem]:
    """A version of an API that a base URL has and should not have, or has not and mostly has."""
    variable, last = spec.base_env, path.rpartition("/")[2]
    if spec.name == "gemini" and last == "v1":
        message = f"{variable} ends in /v1, and Gemini's has no version in it: {shown[:-3]}"
        yield EnvironmentProblem("", message, spec.name)
    elif (spec.name, last) in (("anthropic", "v1"), ("gemini", "v1beta")):
        message = f"{variable} ends in /{last}, which is added to it anyway and is left out"
        yield EnvironmentProblem("", message, spec.name, warning=True)
    elif spec.name == "openai" and not re.search(r"/v\d+(?:beta)?$|/openai$", path):
        message = f"{variable} is {shown}: an address of OpenAI's kind mostly ends in /v1"
        yield EnvironmentProblem("", message, spec.name, warning=True)


def _votes_alike(pipeline: Pipeline) -> Iterator[EnvironmentProblem]:
    """Votes that a model is told to give alike."""
    for i, task in enumerate(pipeline.tasks):
        for llm in pipeline.llms_of(task) if task.votes is not None else ():
            same = (
                "`temperature: 0`"
                if llm.temperature == 0
                else f"`seed: {llm.seed}`"
                if llm.seed is not None
                else ""
            )
            if same:
                yield EnvironmentProblem(
                    f"tasks[{i}].votes", f"pipeline {pipeline.name!r}, task {task.name!r}: with {same} the votes are "
                    "mostly the same answer, paid for each time; leave it out, or the votes", warning=True,
                )  # fmt: skip
                break


def _superfluous_apis(pipeline: Pipeline) -> Iterator[EnvironmentProblem]:
    """`api:` beside a model whose provider has one API. One that is inherited says nothing about the model."""
    single = {spec.name for spec in BUILT_IN} - _TWO_APIS
    levels = [("llm", "", pipeline.llm)]
    for i, t in enumerate(pipeline.tasks):
        levels += [(f"tasks[{i}].{t.llm_place(n)}", t.name, llm) for n, llm in enumerate(t.llms)]
    for where, task, llm in levels:
        provider = (llm.model or (pipeline.llm.model if task else None) or "").partition(":")[0]
        if llm.api is not None and provider in single:
            owner = f"pipeline {pipeline.name!r}" + (f", task {task!r}" if task else "")
            yield EnvironmentProblem(
                f"{where}.api", f"{owner}: `api: {llm.api}` is for openai; {provider} has one API, so leave "
                "it out", provider,
            )  # fmt: skip


def _unpriced(
    pipeline: Pipeline, by_provider: Mapping[str, list[ModelUse]], prices: PriceBook
) -> Iterator[EnvironmentProblem]:
    for name, uses in by_provider.items():
        for use in uses:
            if prices.lacks_price(use.ref):
                yield EnvironmentProblem(
                    use.where, f"{_tasks_of(pipeline, [use])}: the price of {use.ref} is unknown, so the limit "
                    f"daily_usd cannot be kept; give its price in the setting `prices`, or use daily_tokens", name,
                )  # fmt: skip


def _unpriced_here(
    pipeline: Pipeline, by_provider: Mapping[str, list[ModelUse]], prices: PriceBook, environ: Mapping[str, str]
) -> Iterator[EnvironmentProblem]:
    """Budgets in dollars of models that have a price, but not at the address where they are asked."""
    limited = {task.name for task in pipeline.tasks if task.budget.usd is not None}
    for name, uses in by_provider.items():
        for use in uses:
            if pipeline.budget.usd is None and limited.isdisjoint(use.tasks):
                continue
            if prices.is_elsewhere(use.ref) and prices.lacks_price(use.ref):
                spec = specs()[name]
                yield EnvironmentProblem(
                    use.where, f"{_tasks_of(pipeline, [use])}: {spec.base_env} is not an address of {name}'s own, so "
                    f"the price of {use.ref} is unknown and `budget.usd` cannot be kept; give its price in the setting "
                    "`prices`, or use `budget.tokens`", name,
                )  # fmt: skip


def _tasks_of(pipeline: Pipeline, uses: Iterable[ModelUse]) -> str:
    """The tasks of some uses, for people."""
    names = list(dict.fromkeys(name for use in uses for name in use.tasks))
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"pipeline {pipeline.name!r}, task{'s' if len(names) > 1 else ''} {shown}"
