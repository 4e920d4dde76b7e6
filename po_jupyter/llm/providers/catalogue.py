"""The model catalogue: aliases for `ctx.llm.openai.gpt5_mini(...)`, and the models that can be used now.

An alias is a model's name in letters, digits and underscores: `gpt-5-mini` is `gpt5_mini` (and `gpt_5_mini`).
The names here are the common ones; any other model of the price list is found as well, and any model at all by its
ref. A name that is here need not be served to you: that is between you and the provider.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

from po_jupyter.errors import InvalidInput, ModelError
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook, TokenPrices
from po_jupyter.llm.providers.refs import missing_key, ref_problem
from po_jupyter.llm.specs import ALSO_CALLED, spec_of, specs
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonObject

MODELS: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-5.2", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
        "gpt-4o", "gpt-4o-mini", "o3", "o4-mini",
    ),
    "anthropic": (
        "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5",
        "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-5-5", "claude-haiku-4-5",
    ),
    "gemini": (
        "gemini-3.1-pro-preview", "gemini-3.5-flash", "gemini-2.5-pro", "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
    ),
    "deepseek": ("deepseek-chat", "deepseek-reasoner"),
    "moonshot": ("kimi-k2.6", "kimi-k2.5"),
    "zai": ("glm-5.1", "glm-5", "glm-4.7", "glm-4.6"),
    "zhipu": ("glm-5.1", "glm-5", "glm-4.7"),
    "alibaba": ("qwen3-max", "qwen-plus", "qwen-flash"),
    "openrouter": ("openai/gpt-5-mini", "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash"),
    "groq": ("llama-3.3-70b-versatile", "llama-3.1-8b-instant", "openai/gpt-oss-120b", "openai/gpt-oss-20b"),
    "mistral": ("mistral-small-latest", "mistral-medium-latest", "mistral-large-latest", "magistral-medium-latest"),
    "xai": ("grok-4.20", "grok-4-fast-reasoning", "grok-4-fast-non-reasoning"),
    "together": ("openai/gpt-oss-120b", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    "fireworks": ("accounts/fireworks/models/gpt-oss-120b", "accounts/fireworks/models/kimi-k2p6"),
    "cerebras": ("gpt-oss-120b", "llama-3.3-70b"),
    "huggingface": ("openai/gpt-oss-120b:groq", "meta-llama/Llama-3.3-70B-Instruct:together"),
    "perplexity": ("sonar", "sonar-pro", "sonar-reasoning-pro"),
    "azure": ("gpt-5-mini", "gpt-4.1-mini"),
    "vertex": ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-embedding-001"),
    "bedrock": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.amazon.nova-micro-v1:0", "us.amazon.nova-lite-v1:0",
        "us.amazon.nova-pro-v1:0", "openai.gpt-oss-120b-1:0",
    ),
    "local": ("smollm2-135m",),
    "fake": ("echo",),
    "claude-cli": ("default", "opus", "sonnet", "haiku"),
    "codex-cli": ("default",),
    "opencode-cli": ("default",),
}  # fmt: skip
_PROGRAMS = {"claude-cli": "claude", "codex-cli": "codex", "opencode-cli": "opencode"}


def alias_of(model: str) -> str:
    """`gpt5_mini` for `gpt-5-mini`: words joined by `_`, a number joined to the word before it."""
    alias = re.sub(r"[^A-Za-z0-9]+", "_", model).strip("_").lower()
    return re.sub(r"(?<=[a-z])_(?=\d)", "", alias, count=1)


def resolve_alias(provider: str, alias: str) -> str:
    """The model ref of an alias. Raises InvalidInput with suggestions."""
    name = provider.replace("_", "-") if provider not in specs() else provider
    if (problem := ref_problem(f"{name}:x")) is not None:
        raise InvalidInput(problem)
    key = _squeezed(alias)
    for models in (_aliases(name), _priced_models(name)):
        if key in models:
            return f"{name}:{models[key]}"
    aliases = [alias_of(model) for model in _models_of(name)]
    raise InvalidInput(
        f"{name} has no model with the alias {alias!r}{did_you_mean(alias, aliases)}",
        hint=f'Known: {", ".join(aliases)}. Any other: ctx.llm.chat(..., model="{name}:NAME").',
    )


def similar_model(ref: str) -> str:
    """The ref of a known model that was probably meant; "" when there is none, and for a known model."""
    provider, _, model = ref.partition(":")
    if provider not in specs():
        return ""
    models_by_key = {**_priced_models(provider), **_aliases(provider)}
    if model in models_by_key.values():
        return ""
    near = models_by_key.get(_squeezed(model), "")
    for names in (_models_of(provider), tuple(models_by_key.values())):
        near = near or next(iter(get_close_matches(model, names, 1, 0.75)), "")
    return f"{provider}:{near}" if near else ""


def misspelt_model(ref: str) -> str:
    """The ref that was meant by one which differs in its signs only (`gpt5-mini`), of vendors whose names are known."""
    provider, _, model = ref.partition(":")
    if provider not in ("openai", "anthropic", "gemini") or model in _models_of(provider):
        return ""
    models_by_key = {**_priced_models(provider), **_aliases(provider)}
    suggestion = models_by_key.get(_squeezed(model), model)
    return "" if suggestion == model else f"{provider}:{suggestion}"


class Shortcuts:
    """The models of one provider as functions (`ctx.llm.openai`): `shortcuts.gpt5_mini("Hello")` is `chat` with it."""

    __slots__ = ("_chat", "_provider")

    def __init__(self, provider: str, chat: Callable[..., Any]) -> None:
        """`chat` is called with `model` set."""
        self._provider = provider
        self._chat = chat

    def __getattr__(self, alias: str) -> Callable[..., Any]:
        """The function of a model. Raises AttributeError with suggestions."""
        if alias.startswith("_"):
            raise AttributeError(alias)
        try:
            return partial(self._chat, model=resolve_alias(self._provider, alias))
        except InvalidInput as error:
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        """The aliases of the listed models."""
        name = self._provider if self._provider in specs() else self._provider.replace("_", "-")
        return [alias_of(model) for model in _models_of(name)]

    def __repr__(self) -> str:
        """The provider and its aliases."""
        return f"<models of {self._provider}: {', '.join(dir(self))}>"


def shortcuts(name: str, chat: Callable[..., Any]) -> Shortcuts:
    """The shortcuts of a provider, for `__getattr__` of `ctx.llm`. Raises AttributeError when there is none."""
    if name.startswith("_") or (name not in specs() and name.replace("_", "-") not in specs()):
        raise AttributeError(f"no provider is called {name!r}{did_you_mean(name, sorted(specs()))}")
    return Shortcuts(name, chat)


@dataclass(frozen=True, slots=True)
class ModelListing:
    """One model of the list. `why` it cannot be used now, "" when it can; `price` in US dollars per million tokens,
    `price_note` why it has none; `list_price` that of the vendor's list where a team's admin set another one."""

    ref: str
    provider: str
    model: str
    alias: str
    usable: bool
    why: str
    price: TokenPrices | None = None
    price_note: str = ""
    list_price: TokenPrices | None = None

    def to_json(self) -> JsonObject:
        """As JSON: the fields by name."""
        return asdict(self)


def usable_models(
    environ: Mapping[str, str] | None = None, *, cli_agents: bool = False, prices: PriceBook = LIST_PRICES
) -> list[ModelListing]:
    """Every model of the catalogue and every provider's example, usable ones first. No network call is made.

    `environ` is what the orchestrator sees (default: this process). A server of one's own counts as usable when
    its base URL is set: only using it shows whether it listens.
    """
    environ = os.environ if environ is None else environ
    models = []
    for name in specs():
        why = _unusable_because(name, environ, cli_agents)
        for model in _models_of(name) or ("NAME",):
            ref = f"{name}:{model}"
            price = prices.per_million(ref)
            note = "" if price is not None else _unpriced_because(name, prices.is_elsewhere(ref))
            models.append(ModelListing(ref, name, model, alias_of(model), not why, why, price, note))
    return sorted(models, key=lambda listing: not listing.usable)


def list_models(
    environ: Mapping[str, str] | None = None,
    *,
    cli_agents: bool = False,
    word: str | None = None,
    provider: str | None = None,
    prices: PriceBook = LIST_PRICES,
    adapt: Callable[[list[ModelListing]], list[ModelListing]] = list,
) -> list[JsonObject]:
    """`usable_models`, as `adapt` has them, as JSON: those of a provider, with `word` in their name or alias.

    Raises InvalidInput.
    """
    if provider is not None and provider not in specs():
        other = ALSO_CALLED.get(provider.lower())
        guess = f"; did you mean `{other}`?" if other else did_you_mean(provider, sorted(specs()))
        raise InvalidInput(f"no provider is called {provider!r:.60}{guess}")
    part = (word or "").lower()
    return [
        model.to_json()
        for model in adapt(usable_models(environ, cli_agents=cli_agents, prices=prices))
        if provider in (None, model.provider) and (part in model.ref.lower() or part in model.alias)
    ]


def _unpriced_because(name: str, elsewhere: bool) -> str:
    """The reason why a model has no price."""
    spec = spec_of(name)
    if elsewhere and spec is not None:
        return f"{spec.base_env} is not an address of {name}'s own: give yours in `prices`"
    return (spec.price_note if spec is not None else "") or "no price list has it: give yours in `prices`"


def _unusable_because(name: str, environ: Mapping[str, str], cli_agents: bool) -> str:
    """The reason why a provider cannot be used, as text; "" when it can."""
    spec = spec_of(name)
    if spec is None:
        return "its plugin cannot be loaded"
    if spec.runs_code:
        program = _PROGRAMS.get(name, name)
        if not cli_agents:
            return "CLI agents are switched off (PO_CLI_AGENTS)"
        return "" if shutil.which(program, path=environ.get("PATH")) else f"`{program}` is not installed"
    if (variable := missing_key(f"{name}:x", environ)) is not None:
        return f"{variable} is not set"
    if spec.base_env and not spec.base_url_in(environ):
        return f"{(spec.region_env or (spec.base_env,))[0]} is not set"
    if spec.login is not None and not spec.login.is_installed:
        return f"the extra `{spec.login.extra}` is not installed"
    if spec.key_optional and not environ.get(spec.base_env, "").strip():
        return f"{spec.base_env} is not set (it would be asked at {spec.base_url})"
    if name == "local":
        return "" if find_spec("xllamacpp") else "the extra `local` is not installed"
    return ""


def _models_of(provider: str) -> tuple[str, ...]:
    """The listed models of a provider: those of `MODELS`, else the one in the example of its spec."""
    if provider in MODELS:
        return MODELS[provider]
    spec = spec_of(provider)
    example = spec.example.partition(":")[2] if spec is not None else ""
    return (example,) if example else ()


def _squeezed(alias: str) -> str:
    """The letters and digits of a name, the key of the two tables below."""
    return re.sub(r"[^a-z0-9]", "", alias.lower())


@lru_cache(maxsize=64)
def _aliases(provider: str) -> Mapping[str, str]:
    """The listed models, by squeezed name."""
    return {_squeezed(model): model for model in _models_of(provider)}


@lru_cache(maxsize=64)
def _priced_models(provider: str) -> Mapping[str, str]:
    """The models of the price list, by squeezed name."""
    price_id = specs()[provider].price_id
    if not price_id:
        return {}
    from genai_prices.data_snapshot import get_snapshot

    return {
        _squeezed(model.id): model.id
        for listed in get_snapshot().providers
        if listed.id == price_id
        for model in listed.models
    }


def suggest_model(error: ModelError, ref: str) -> None:
    """Say in the hint of an error about an unknown model which one was probably meant."""
    if error.http_status != 404 and error.reason not in ("model_not_found", "invalid_model"):
        return
    if suggestion := similar_model(ref):
        error.hint = f"Did you mean {suggestion}? {error.hint}".rstrip()
