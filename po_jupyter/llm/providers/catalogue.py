"""Models by name: the aliases of `ctx.llm.openai.gpt5_mini(...)`, and which models can be used now.

An alias is a model's name in letters, digits and underscores: `gpt-5-mini` is `gpt5_mini` (and `gpt_5_mini`).
The names here are those that people ask for; any other model of the price list is found as well, and any model
at all by its ref. A name that is here need not be served to you: that is between you and the provider.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import Any

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook, TokenPrices
from po_jupyter.llm.providers.compatible.family import ALSO_CALLED
from po_jupyter.llm.providers.registry import described, missing_key, problem_of, specs
from po_jupyter.model.pipeline.violations import did_you_mean

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
    "zhipu": ("glm-5.1", "glm-5", "glm-4.7", "glm-4.6"),
    "alibaba": ("qwen3-max", "qwen-plus", "qwen-flash"),
    "openrouter": ("openai/gpt-5-mini", "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash"),
    "local": ("smollm2-135m",),
    "fake": ("echo",),
    "claude-cli": ("default", "opus", "sonnet", "haiku"),
    "codex-cli": ("default",),
    "opencode-cli": ("default",),
}  # fmt: skip
_PROGRAMS = {"claude-cli": "claude", "codex-cli": "codex", "opencode-cli": "opencode"}


def alias_of(model: str) -> str:
    """`gpt5_mini` for `gpt-5-mini`: words joined by `_`, a number joined to the word before it."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", model).strip("_").lower()
    return re.sub(r"(?<=[a-z])_(?=\d)", "", words, count=1)


def resolve(provider: str, alias: str) -> str:
    """The model ref that an alias means. Raises InvalidInput with suggestions."""
    name = provider.replace("_", "-") if provider not in specs() else provider
    if (problem := problem_of(f"{name}:x")) is not None:
        raise InvalidInput(problem)
    wanted = _squeezed(alias)
    known = _aliases(name)
    if wanted in known:
        return f"{name}:{known[wanted]}"
    listed = _priced(name)
    if wanted in listed:
        return f"{name}:{listed[wanted]}"
    ours = [alias_of(model) for model in _models_of(name)]
    raise InvalidInput(
        f"{name} has no model with the alias {alias!r}{did_you_mean(alias, ours)}",
        hint=f'Known: {", ".join(ours)}. Any other: ctx.llm.chat(..., model="{name}:NAME").',
    )


class Shortcuts:
    """`ctx.llm.openai`: each attribute is `chat` with that model, `shortcuts.gpt5_mini("Hello")`."""

    __slots__ = ("_chat", "_provider")

    def __init__(self, provider: str, chat: Callable[..., Any]) -> None:
        self._provider = provider
        self._chat = chat

    def __getattr__(self, alias: str) -> Callable[..., Any]:
        if alias.startswith("_"):
            raise AttributeError(alias)
        try:
            return partial(self._chat, model=resolve(self._provider, alias))
        except InvalidInput as error:
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        name = self._provider if self._provider in specs() else self._provider.replace("_", "-")
        return [alias_of(model) for model in _models_of(name)]

    def __repr__(self) -> str:
        return f"<models of {self._provider}: {', '.join(dir(self))}>"


def shortcuts(name: str, chat: Callable[..., Any]) -> Shortcuts:
    """The shortcuts of a provider, for `__getattr__` of `ctx.llm`. Raises AttributeError when there is none."""
    if name.startswith("_") or (name not in specs() and name.replace("_", "-") not in specs()):
        raise AttributeError(f"no provider is called {name!r}{did_you_mean(name, sorted(specs()))}")
    return Shortcuts(name, chat)


@dataclass(frozen=True, slots=True)
class Usable:
    """One model: whether it can be used now, and if not why not. Prices: US dollars per million tokens."""

    ref: str
    provider: str
    model: str
    alias: str
    usable: bool
    why: str
    price: TokenPrices | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)


def usable_models(
    environ: Mapping[str, str] | None = None, *, cli_agents: bool = False, prices: PriceBook = LIST_PRICES
) -> list[Usable]:
    """Every model of the catalogue and every provider's example, usable ones first. No network call is made.

    `environ` is what the orchestrator sees (default: this process). A server of one's own counts as usable when
    its base URL is set: whether it listens is found out by using it.
    """
    environ = os.environ if environ is None else environ
    found = []
    for name in specs():
        why = _why_not(name, environ, cli_agents)
        for model in _models_of(name) or ("NAME",):
            ref = f"{name}:{model}"
            price = prices.per_million(ref)
            found.append(Usable(ref, name, model, alias_of(model), not why, why, price))
    return sorted(found, key=lambda one: not one.usable)


def listed(
    environ: Mapping[str, str] | None = None,
    *,
    cli_agents: bool = False,
    word: str | None = None,
    provider: str | None = None,
    prices: PriceBook = LIST_PRICES,
) -> list[dict[str, Any]]:
    """`usable_models` as JSON: those of a provider, with `word` in their name or alias. Raises InvalidInput."""
    if provider is not None and provider not in specs():
        known = ALSO_CALLED.get(provider.lower())
        guess = f"; did you mean `{known}`?" if known else did_you_mean(provider, sorted(specs()))
        raise InvalidInput(f"no provider is called {provider!r:.60}{guess}")
    wanted = (word or "").lower()
    return [
        one.to_json()
        for one in usable_models(environ, cli_agents=cli_agents, prices=prices)
        if provider in (None, one.provider) and (wanted in one.ref.lower() or wanted in one.alias)
    ]


def _why_not(name: str, environ: Mapping[str, str], cli_agents: bool) -> str:
    """Why a provider cannot be used, in words; "" when it can."""
    spec = described(name)
    if spec is None:
        return "its plugin cannot be loaded"
    if spec.runs_code:
        program = _PROGRAMS.get(name, name)
        if not cli_agents:
            return "CLI agents are switched off (PO_CLI_AGENTS)"
        return "" if shutil.which(program, path=environ.get("PATH")) else f"`{program}` is not installed"
    if (variable := missing_key(f"{name}:x", environ)) is not None:
        return f"{variable} is not set"
    if spec.key_optional and not environ.get(spec.base_env, "").strip():
        return f"{spec.base_env} is not set (it would be asked at {spec.base_url})"
    if name == "local":
        from importlib.util import find_spec

        return "" if find_spec("xllamacpp") else "the extra `local` is not installed"
    return ""


def _models_of(provider: str) -> tuple[str, ...]:
    """The models that are listed of a provider: those here, else the one that it gives as its example."""
    if provider in MODELS:
        return MODELS[provider]
    spec = described(provider)
    example = spec.example.partition(":")[2] if spec is not None else ""
    return (example,) if example else ()


def _squeezed(alias: str) -> str:
    return re.sub(r"[^a-z0-9]", "", alias.lower())


@lru_cache(maxsize=64)
def _aliases(provider: str) -> Mapping[str, str]:
    return {_squeezed(model): model for model in _models_of(provider)}


@lru_cache(maxsize=64)
def _priced(provider: str) -> Mapping[str, str]:
    """The models of the price list, by squeezed name."""
    wanted = specs()[provider].price_id
    if not wanted:
        return {}
    from genai_prices.data_snapshot import get_snapshot

    return {
        _squeezed(model.id): model.id
        for listed in get_snapshot().providers
        if listed.id == wanted
        for model in listed.models
    }
