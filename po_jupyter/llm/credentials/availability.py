"""Whether the models that a pipeline names can be used where its orchestrator runs (R2.5). No network call.

Checked is what is written down: models of prompt tasks, and those that the pipeline or a Python task names. What a
Python task asks of other models at run time is not known here; such a call fails when it is made.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from po_jupyter.config import Settings
from po_jupyter.errors import Violation
from po_jupyter.llm.credentials.keys import base_url_of
from po_jupyter.llm.money.pricing import is_priced
from po_jupyter.llm.providers.refs import ref_problem
from po_jupyter.llm.specs import BUILT_IN, Spec, spec_of
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.presentation.urls import shown_url

PROGRAMS = {"claude-cli": "claude", "codex-cli": "codex", "opencode-cli": "opencode"}
_TWO_APIS = frozenset({"openai"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Use:
    """A model that tasks of a pipeline use, and where it is written: a path in the pipeline, or a setting."""

    ref: str
    where: str
    tasks: tuple[str, ...]

    @property
    def provider(self) -> str:
        """The part of the ref before the colon."""
        return self.ref.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong around a run. A `warning` does not keep it from starting; `variable` is not set."""

    where: str
    message: str
    provider: str = ""
    variable: str = ""
    warning: bool = False

    @property
    def violation(self) -> Violation:
        """As a part of an error."""
        return Violation(self.where, self.message)


def uses(pipeline: Pipeline, default_model: str, model: str | None = None) -> list[Use]:
    """The models that a run would ask, as far as they are written down. `model` is the run's own."""
    found: dict[tuple[str, str], list[str]] = {}
    for i, task in enumerate(pipeline.tasks):
        if model is not None:
            ref, where = model, "options.model"
        elif task.llm.model is not None:
            ref, where = task.llm.model, f"tasks[{i}].llm.model"
        elif pipeline.llm.model is not None:
            ref, where = pipeline.llm.model, "llm.model"
        elif task.kind == "prompt":
            ref, where = default_model, "default_model"
        else:
            continue  # Python that names no model may never ask one
        found.setdefault((ref, where), []).append(task.name)
    return [Use(ref, where, tuple(tasks)) for (ref, where), tasks in found.items()]


def problems(
    pipeline: Pipeline,
    *,
    environ: Mapping[str, str],
    settings: Settings,
    model: str | None = None,
    refused: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Everything that is wrong, errors first; a provider's trouble once, with the tasks that it touches.

    `environ` is what a worker will get, keys included; `refused` says why a provider's stored key is not in it.
    """
    found: list[Problem] = []
    by_provider: dict[str, list[Use]] = {}
    for use in uses(pipeline, settings.default_model, model):
        if ref_problem(use.ref) is None:
            by_provider.setdefault(use.provider, []).append(use)
        elif use.where in ("default_model", "options.model"):  # the pipeline's own were looked at before
            found.append(Problem(use.where, f"{_who(pipeline, [use])}: {ref_problem(use.ref)}"))
    for name, used in by_provider.items():
        spec, who = spec_of(name), _who(pipeline, used)
        if spec is None:
            found.append(Problem(used[0].where, f"{who}: the plugin of {name} cannot be loaded", name))
            continue
        why = (refused or {}).get(name, "")
        found += [
            Problem(used[0].where, f"{who}: {one.message}", name, one.variable, one.warning)
            for one in of_provider(spec, environ, settings, refused=why)
        ]
    found += _apis(pipeline)
    if settings.daily_usd is not None:
        found += _unpriced(pipeline, by_provider)
    return sorted(found, key=lambda one: one.warning)


def of_provider(
    spec: Spec, environ: Mapping[str, str], settings: Settings, *, refused: str = ""
) -> Iterator[Problem]:
    """What keeps one provider from being used, or may; nothing when all is well."""
    name = spec.name
    if spec.runs_code:
        program = PROGRAMS.get(name, name)
        if not settings.cli_agents:
            yield Problem(
                "", f"{name} is switched off, a CLI agent may run commands: set PO_CLI_AGENTS=true where the "
                "orchestrator starts", name,
            )  # fmt: skip
        elif shutil.which(program, path=environ.get("PATH")) is None:
            yield Problem(
                "", f"{name} needs the program `{program}`, which is not on the orchestrator's PATH", name
            )
    if name == "local" and find_spec("xllamacpp") is None:
        yield Problem("", "local models need the extra `local`: pip install 'po_jupyter[local]'", name)
    yield from _key(spec, environ, refused)
    yield from _base_url(spec, environ)


def _key(spec: Spec, environ: Mapping[str, str], refused: str) -> Iterator[Problem]:
    key = environ.get(spec.key_env, "").strip() if spec.key_env else ""
    if key and (not (key.isascii() and key.isprintable()) or " " in key):
        yield Problem(
            "", f"{spec.key_env} is not a key: it holds spaces, line breaks or other signs that no key has",
            spec.name,
        )  # fmt: skip
    elif not key and refused:
        yield Problem("", f"{refused}: po keys set {spec.name}", spec.name, warning=spec.key_optional)
    elif spec.key_env and not key and not spec.key_optional:
        yield Problem(
            "", f"{spec.name} needs a key, and {spec.key_env} is not set where the orchestrator runs: "
            f"po keys set {spec.name}", spec.name, spec.key_env,
        )  # fmt: skip


def _base_url(spec: Spec, environ: Mapping[str, str]) -> Iterator[Problem]:
    url, variable = base_url_of(spec, environ), spec.base_env
    if not url or not environ.get(variable, "").strip():
        return  # the provider's own
    try:
        parts = urlsplit(url)
        port = parts.port
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (port is None or port > 0)
    except ValueError:
        good = False
    if not good or re.search(r"[\s\x00-\x1f]", url):
        yield Problem("", f"{variable} is not a URL such as {spec.base_url or 'https://host/v1'}", spec.name)
        return
    shown, path = shown_url(url), parts.path.rstrip("/")
    if parts.username is not None or parts.password is not None:
        yield Problem(
            "", f"{variable} has a user or password in it: give {shown}, and the key by "
            f"`po keys set {spec.name}`", spec.name,
        )  # fmt: skip
    if parts.query or parts.fragment:
        yield Problem("", f"{variable} has a ? or # in it, and paths are put behind it: {shown}", spec.name)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and environ.get(spec.key_env, "").strip():
        yield Problem("", f"{variable} is {shown}: the key goes there unencrypted", spec.name, warning=True)
    if spec.name == "gemini" and path.endswith("/v1"):
        yield Problem("", f"{variable} ends in /v1, and Gemini's has no version in it: {shown[:-3]}", spec.name)
    elif (spec.name, path.rpartition("/")[2]) in (("anthropic", "v1"), ("gemini", "v1beta")):
        yield Problem(
            "", f"{variable} ends in /{path.rpartition('/')[2]}, which is added to it anyway and is left out",
            spec.name, warning=True,
        )  # fmt: skip
    elif spec.name == "openai" and not re.search(r"/v\d+(?:beta)?$|/openai$", path):
        yield Problem(
            "",
            f"{variable} is {shown}: an address of OpenAI's kind mostly ends in /v1",
            spec.name,
            warning=True,
        )


def _apis(pipeline: Pipeline) -> Iterator[Problem]:
    """`api:` beside a model whose provider has one API. One that is inherited says nothing about the model."""
    single = {spec.name for spec in BUILT_IN} - _TWO_APIS
    places = [("", "", pipeline.llm), *((f"tasks[{i}].", t.name, t.llm) for i, t in enumerate(pipeline.tasks))]
    for where, task, llm in places:
        provider = (llm.model or (pipeline.llm.model if task else None) or "").partition(":")[0]
        if llm.api is not None and provider in single:
            whose = f"pipeline {pipeline.name!r}" + (f", task {task!r}" if task else "")
            yield Problem(
                f"{where}llm.api", f"{whose}: `api: {llm.api}` is for openai; {provider} has one API, so leave "
                "it out", provider,
            )  # fmt: skip


def _unpriced(pipeline: Pipeline, by_provider: Mapping[str, list[Use]]) -> Iterator[Problem]:
    for name, used in by_provider.items():
        for use in used:
            if not is_priced(use.ref):
                yield Problem(
                    use.where, f"{_who(pipeline, [use])}: the price of {use.ref} is unknown, so the limit "
                    f"daily_usd cannot be kept; give its price in the setting `prices`, or use daily_tokens", name,
                )  # fmt: skip


def _who(pipeline: Pipeline, used: Iterable[Use]) -> str:
    names = list(dict.fromkeys(name for use in used for name in use.tasks))
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"pipeline {pipeline.name!r}, task{'s' if len(names) > 1 else ''} {shown}"
