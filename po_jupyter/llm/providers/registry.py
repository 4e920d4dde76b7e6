"""Which providers there are, as data, and the ones that a worker has opened.

A third party adds one through the entry-point group `po_jupyter.providers`: the entry's name is the provider's
name, its object a `Spec`, or a function `(Context) -> Provider`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from po_jupyter.errors import InvalidInput, ModelKeyError, ModelRefused, ModelUnavailable, Violation
from po_jupyter.llm.providers.compatible.family import ALSO_CALLED, FAMILY, Family
from po_jupyter.model.pipeline.violations import did_you_mean

if TYPE_CHECKING:
    from po_jupyter.llm.chat import Provider
    from po_jupyter.llm.wire.exchange import Endpoint, Resolver
    from po_jupyter.llm.wire.http import Http

ENTRY_POINTS = "po_jupyter.providers"


@dataclass(frozen=True, slots=True)
class Context:
    """What a factory may use. `environ` holds keys: it is not shown."""

    spec: Spec
    environ: Mapping[str, str] = field(repr=False)
    http: Http
    local: Resolver | None = None
    cli_agents: bool = False

    @property
    def key(self) -> str | None:
        """The provider's key, or None. Raises ModelKeyError when it needs one that is not there."""
        return key_of(self.spec, self.environ)

    @property
    def base_url(self) -> str:
        """From the environment, else the provider's own."""
        return self.environ.get(self.spec.base_env, "").strip() or self.spec.base_url

    @property
    def endpoint(self) -> Endpoint:
        """Base URL and key together. Raises ModelKeyError."""
        from po_jupyter.llm.wire.exchange import Endpoint

        return Endpoint(self.base_url, self.key)


Factory: TypeAlias = "Callable[[Context], Provider]"


@dataclass(frozen=True, slots=True)
class Spec:
    """One provider.

    key_env       the variable that holds its key; "" when it has none
    key_optional  it works without the key as well (a server of one's own)
    base_env      the variable that holds another base URL than `base_url`
    price_id      what genai-prices calls it; "" when it has no prices there
    free          it costs nothing: it runs on the user's own machines
    runs_code     it may run commands where it is used: who submits a run with it needs the scope `code:run`
    images        whether any of its models takes images
    batch         it has a batch API (`mode: batch`): its provider has `batches`, see `llm.batches.base`
    """

    name: str
    factory: Factory
    key_env: str = ""
    base_env: str = ""
    base_url: str = ""
    price_id: str = ""
    free: bool = False
    example: str = ""
    key_optional: bool = False
    runs_code: bool = False
    images: bool = True
    batch: bool = False


def _openai(context: Context) -> Provider:
    from po_jupyter.llm.providers.openai.client import OpenAI

    return OpenAI(context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


def _anthropic(context: Context) -> Provider:
    from po_jupyter.llm.providers.anthropic.messages import Anthropic

    return Anthropic(context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


def _gemini(context: Context) -> Provider:
    from po_jupyter.llm.providers.gemini import Gemini

    return Gemini(context.endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


def _member(family: Family) -> Spec:
    def make(context: Context) -> Provider:
        from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions

        return ChatCompletions(
            context.endpoint,
            context.http,
            name=context.spec.name,
            key_env=context.spec.key_env,
            quirks=family.quirks,
        )

    return Spec(
        family.name,
        make,
        key_env=family.key_env,
        base_env=family.base_env,
        base_url=family.base_url,
        price_id=family.price_id,
        free=family.own,
        example=family.example,
        key_optional=family.own,
        images=family.images,
    )


def _cli(context: Context) -> Provider:
    from po_jupyter.llm.providers.cli_agents import CliAgent

    if not context.cli_agents:
        raise ModelRefused(
            f"{context.spec.name} is switched off: a CLI agent may run commands on this machine",
            hint="Set PO_CLI_AGENTS=true where the orchestrator starts.",
        )
    return CliAgent(context.spec.name, context.environ)


def _local(context: Context) -> Provider:
    from po_jupyter.llm.providers.local import local_provider

    if context.local is None:
        raise ModelUnavailable(
            "nobody runs a local model here",
            hint="Run the pipeline in an orchestrator: `po start`, or a notebook.",
        )
    return local_provider(context.local, context.http)


def _fake(context: Context) -> Provider:
    from po_jupyter.llm.providers.fake import FakeProvider

    return FakeProvider()


BUILT_IN: tuple[Spec, ...] = (
    Spec(
        "openai",
        _openai,
        key_env="OPENAI_API_KEY",
        base_env="OPENAI_BASE_URL",
        base_url="https://api.openai.com/v1",
        price_id="openai",
        example="openai:gpt-5-mini",
        batch=True,
    ),
    Spec(
        "anthropic",
        _anthropic,
        key_env="ANTHROPIC_API_KEY",
        base_env="ANTHROPIC_BASE_URL",
        base_url="https://api.anthropic.com",
        price_id="anthropic",
        example="anthropic:claude-sonnet-4-5",
        batch=True,
    ),
    Spec(
        "gemini",
        _gemini,
        key_env="GEMINI_API_KEY",
        base_env="GEMINI_BASE_URL",
        base_url="https://generativelanguage.googleapis.com",
        price_id="google",
        example="gemini:gemini-2.5-flash",
    ),
    *map(_member, FAMILY),
    Spec("local", _local, free=True, example="local:smollm2-135m", images=False),
    Spec("fake", _fake, free=True, example="fake:echo"),
    Spec("claude-cli", _cli, example="claude-cli:sonnet", runs_code=True, images=False),
    Spec("codex-cli", _cli, example="codex-cli:default", runs_code=True, images=False),
    Spec(
        "opencode-cli", _cli, example="opencode-cli:anthropic/claude-sonnet-4-5", runs_code=True, images=False
    ),
)


@lru_cache(maxsize=1)
def specs() -> Mapping[str, Spec]:
    """Every known provider by name. Built-in names cannot be taken over; a broken plugin is named when used."""
    found = {spec.name: spec for spec in BUILT_IN}
    for entry in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.name, Spec(entry.name, _Plugin(entry)))
    return found


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A factory that is loaded when it is used. What it can do is known only then."""

    entry: Any

    def __call__(self, context: Context) -> Provider:
        loaded = self.entry.load()
        if isinstance(loaded, Spec):
            own = Context(loaded, context.environ, context.http, context.local, context.cli_agents)
            return loaded.factory(own)
        made: Provider = loaded(context)
        return made


@lru_cache(maxsize=64)
def described(name: str) -> Spec | None:
    """The provider of that name with all that is said about it; None: there is none, or its plugin is broken.

    A plugin's package is imported for it, which `specs()` does not do.
    """
    spec = specs().get(name)
    if spec is None or spec in BUILT_IN:
        return spec
    try:
        loaded = next(e for e in entry_points(group=ENTRY_POINTS) if e.name == name).load()
    except Exception:  # whatever a stranger's module raises
        return None
    return loaded if isinstance(loaded, Spec) else spec


def problem_of(ref: str) -> str | None:
    """What is wrong with a model ref as such, in one line; None when its provider is known."""
    name, colon, model = ref.partition(":")
    known = sorted(specs())
    if not colon or not model or not name:
        example = f"{name}:NAME" if name in known else "openai:gpt-5-mini"
        return f"{ref!r} is not a model: write provider:model, for example {example}"
    if name not in known:
        other = ALSO_CALLED.get(name.lower())
        hint = f"; did you mean `{other}`?" if other else did_you_mean(name, known)
        return f"no provider is called {name!r}{hint} (known: {', '.join(known)})"
    return None


def check_ref(ref: str) -> tuple[str, str]:
    """(provider, model). Raises InvalidInput that names the known providers, with a suggestion for a typo."""
    problem = problem_of(ref)
    if problem is not None:
        raise InvalidInput(violations=[Violation("llm.model", problem)])
    name, _, model = ref.partition(":")
    return name, model


def missing_key(ref: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The variable that a model needs and `environ` (default: this process's) lacks; None when all is there."""
    spec = described(ref.partition(":")[0])
    environ = os.environ if environ is None else environ
    if spec is None or not spec.key_env or spec.key_optional or environ.get(spec.key_env, "").strip():
        return None
    return spec.key_env


def runs_code(ref: str) -> bool:
    """Whether a model may run commands where it is used: a run with it needs the scope `code:run`."""
    spec = specs().get(ref.partition(":")[0])
    return spec is not None and spec.runs_code


def no_images(ref: str) -> str | None:
    """Why a model cannot be shown images, in one line; None when its provider takes them."""
    name = ref.partition(":")[0]
    spec = specs().get(name)
    if spec is None or spec.images:
        return None
    return f"{name} takes no images, and the model is {ref}"


def no_batches(ref: str) -> str | None:
    """Why a model cannot be used with `mode: batch`, in one line; None when it can, or its provider is unknown."""
    name = ref.partition(":")[0]
    spec = specs().get(name)
    if spec is None or spec.batch or isinstance(spec.factory, _Plugin):
        return None
    known = ", ".join(sorted(s.name for s in specs().values() if s.batch))
    return f"`mode: batch` needs a provider with a batch API ({known}), and {name} has none here"


def key_of(spec: Spec, environ: Mapping[str, str]) -> str | None:
    """The key of a provider, or None when it needs none.

    Raises ModelKeyError when it is missing, or cannot be the value of an HTTP header.
    """
    if not spec.key_env:
        return None
    key = environ.get(spec.key_env, "").strip()
    if not key and spec.key_optional:
        return None
    if not key:
        raise ModelKeyError(
            f"{spec.name} needs a key: {spec.key_env} is not set where the orchestrator runs",
            hint=f"Store one: po keys set {spec.name}   (or set {spec.key_env} where the orchestrator starts)",
            details={"provider": spec.name, "variable": spec.key_env},
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ModelKeyError(
            f"{spec.key_env} is not a key: it holds spaces, line breaks or other signs that no key has",
            hint=f"Store one: po keys set {spec.name}; {spec.key_env} of the environment wins over it, so unset that.",
            details={"provider": spec.name, "variable": spec.key_env},
        )
    return key


class Providers:
    """The providers of one worker, opened when first used, over one `Http`.

    `environ` (keys and base URLs) is passed in and never shown; `local` finds the local model's server.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        http: Http | None = None,
        local: Resolver | None = None,
        given: Mapping[str, Provider] | None = None,
        cli_agents: bool = False,
    ) -> None:
        """`given` are providers that are there already, by name: for tests. `cli_agents` allows those."""
        self._environ = environ
        self._cli_agents = cli_agents
        self._why_no_agents = ""
        self._http = http
        self._own_http = http is None
        self._local = local
        self._open: dict[str, Provider] = dict(given or {})

    def allow_cli_agents(self, on: bool, *, submitter: bool = True) -> None:
        """Whether the setting allows CLI agents, and whether whoever submitted the run may use them."""
        self._cli_agents = on and submitter
        self._why_no_agents = (
            "" if submitter or not on else "whoever submitted this run lacks the scope code:run"
        )

    def get(self, ref: str) -> Provider:
        """The provider of a model ref. Raises InvalidInput (unknown) or ModelKeyError (no key)."""
        name = ref.partition(":")[0]
        provider = self._open.get(name)
        if provider is None:
            check_ref(ref)
            if self._why_no_agents and runs_code(ref):
                raise ModelRefused(
                    f"{name} may run commands, and {self._why_no_agents}",
                    hint="Use another model for this run.",
                )
            if self._http is None:
                from po_jupyter.llm.wire.http import Http

                self._http = Http()
            spec = specs()[name]
            context = Context(spec, self._environ, self._http, self._local, self._cli_agents)
            provider = spec.factory(context)
            self._open[name] = provider
        return provider

    def base_url(self, ref: str) -> str | None:
        """Where a model is asked, for the cache of calls: other places, other answers.

        None when that cannot be said, or the provider may do more than answer.
        """
        name, _, model = ref.partition(":")
        spec = specs().get(name)
        if spec is not None and isinstance(spec.factory, _Plugin):
            try:
                loaded = spec.factory.entry.load()
            except Exception:  # the call itself says what is wrong with it
                return None
            spec = loaded if isinstance(loaded, Spec) else None
        if spec is None or spec.runs_code:
            return None
        if name == "local" and (os.sep in model or model.endswith(".gguf")):
            try:
                file = os.stat(os.path.expanduser(model))
            except OSError:
                return None
            return f"{file.st_size}-{file.st_mtime_ns}"  # another file under the same name
        return (self._environ.get(spec.base_env, "").strip() or spec.base_url).rstrip("/")

    async def aclose(self) -> None:
        """Close every provider, then the connections if they are our own."""
        opened, self._open = list(self._open.values()), {}
        for provider in opened:
            await provider.aclose()
        if self._own_http and self._http is not None:
            await self._http.aclose()
            self._http = None
