"""The provider table: one `Spec` for each provider, built in or from a plugin. Data, without HTTP or prices.

A third party adds a provider through the entry-point group `po_jupyter.providers`: the entry's name is the provider's
name, its object a `Spec`, or a factory `(context) -> Provider`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from po_jupyter.llm.chat import Provider

ENTRY_POINTS = "po_jupyter.providers"

# Called with one `llm.providers.context.ProviderContext`, which stands on a floor above this module.
Factory: TypeAlias = "Callable[..., Provider]"


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """The base URL of a provider's server, the key for it, and further headers. Its repr has no key."""

    base_url: str
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


# The server of a model by the model's name, for providers that have one for each.
Resolver: TypeAlias = Callable[[str], Awaitable[ProviderEndpoint]]


@dataclass(frozen=True, slots=True)
class Plugin:
    """The provider of an installed package, of which only the name is known until the package is imported."""

    entry: EntryPoint


@dataclass(frozen=True, slots=True)
class Spec:
    """One provider.

    factory       makes it from a context: a function, or the import path of one (`module:function`)
    key_env       the variable that holds its key; "" when it has none
    key_optional  it works without the key as well (a server of one's own)
    base_env      the variable that holds another base URL than `base_url`
    price_id      what genai-prices calls it; "" when it has no prices there
    free          it costs nothing: it runs on the user's own machines
    runs_code     it may run commands where it is used: a run with it needs the scope `code:run`
    images        whether any of its models takes images
    price_note    why its models have no price in the list; "" when they have
    answer_tokens the bound of an answer where nobody sets one; 0: as the setting says
    domains       of the vendor's servers, where they are others than that of `base_url`
    batch         it has a batch API (`mode: batch`): its provider has `batches`, see `llm.batches.protocol`
    agent_keys    the variables that may hold the key of a CLI agent, as its program looks them up
    """

    name: str
    factory: str | Factory | Plugin
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
    answer_tokens: int = 0
    price_note: str = ""
    agent_keys: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The variables that may hold its key; the first that is set does. Of a factory that says nothing of itself
        it is NAME_API_KEY."""
        if isinstance(self.factory, Plugin) and not self.key_env:
            return (f"{self.name.upper().replace('-', '_')}_API_KEY",)
        return (self.key_env,) if self.key_env else self.agent_keys

    def key_in(self, environ: Mapping[str, str]) -> str:
        """The key in `environ`, "" when there is none; see `plain_value`."""
        return plain_value(environ.get(self.key_env, "")) if self.key_env else ""

    def base_url_in(self, environ: Mapping[str, str]) -> str:
        """The base URL in `environ`, else the provider's own."""
        return plain_value(environ.get(self.base_env, "")) or self.base_url

    def team_url(self, hub_url: str) -> str:
        """The base URL behind the gateway of a hub: the vendor's own paths are below it."""
        path = "" if self.name in ("anthropic", "gemini") else "/v1"
        return f"{hub_url}/{self.name}{path}"

    @property
    def is_vendor(self) -> bool:
        """Whether it is asked over the network, with a key and for money."""
        return bool(self.key_env and self.base_env) and not (self.free or self.runs_code)

    def is_home(self, url: str) -> bool:
        """True for an address of the vendor's own, whose prices are its."""
        host = _host_of(url)
        own = "" if self.free else ".".join(_host_of(self.base_url).split(".")[-2:])
        return any(f".{host}".endswith(f".{domain}") for domain in (own, *self.domains) if domain)


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # brackets without an address in them
        return ""


def addresses_in(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function that finds the base URL of a model ref in `environ`, "" where it is not known."""

    def base_url(ref: str) -> str:
        spec = specs().get(ref.partition(":")[0])
        return spec.base_url_in(environ) if spec is not None else ""

    return base_url


@lru_cache(maxsize=256)
def is_elsewhere(provider: str, url: str) -> bool:
    """True when a provider is asked at an address whose prices are not its: another vendor's, a proxy's.

    A server of one's own costs nothing wherever it is, but for the address of a vendor.
    """
    spec = specs().get(provider)
    if spec is None or not url:
        return False
    if spec.free:
        return any(other.is_home(url) for other in BUILT_IN if not other.free)
    return not spec.is_home(url)


def plain_value(value: str) -> str:
    """The value of a variable without spaces and one pair of quotes around it, which some files of variables keep."""
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].strip()
    return value


def _compatible(
    name: str,
    base_url: str,
    example: str,
    *,
    price_id: str = "",
    prefix: str = "",
    key_env: str = "",
    images: bool = True,
    price_note: str = "",
    domains: tuple[str, ...] = (),
) -> Spec:
    """A vendor whose server speaks Chat Completions; its differences are in `providers.compatible.family`."""
    prefix = prefix or name.upper()
    return Spec(
        name,
        "po_jupyter.llm.providers.compatible.chat_completions:make",
        key_env=key_env or f"{prefix}_API_KEY",
        base_env=f"{prefix}_BASE_URL",
        base_url=base_url,
        price_id=price_id,
        example=example,
        images=images,
        price_note=price_note,
        domains=domains,
    )


def _own_server(name: str, base_url: str, example: str) -> Spec:
    """A server with Chat Completions on the user's own machines: without a bill, and mostly without a key."""
    return replace(_compatible(name, base_url, example), free=True, key_optional=True)


def _cli_agent(name: str, example: str, *keys: str) -> Spec:
    return Spec(
        name,
        "po_jupyter.llm.providers.cli_agents.client:make",
        example=example,
        runs_code=True,
        images=False,
        price_note="the program bills its own account, and says itself what a call cost, if it knows",
        agent_keys=keys,
    )


BUILT_IN: tuple[Spec, ...] = (
    Spec(
        "openai",
        "po_jupyter.llm.providers.openai.client:make",
        key_env="OPENAI_API_KEY",
        base_env="OPENAI_BASE_URL",
        base_url="https://api.openai.com/v1",
        price_id="openai",
        example="openai:gpt-5-mini",
        batch=True,
    ),
    Spec(
        "anthropic",
        "po_jupyter.llm.providers.anthropic.client:make",
        key_env="ANTHROPIC_API_KEY",
        base_env="ANTHROPIC_BASE_URL",
        base_url="https://api.anthropic.com",
        price_id="anthropic",
        example="anthropic:claude-sonnet-4-5",
        batch=True,
    ),
    Spec(
        "gemini",
        "po_jupyter.llm.providers.gemini:make",
        key_env="GEMINI_API_KEY",
        base_env="GEMINI_BASE_URL",
        base_url="https://generativelanguage.googleapis.com",
        price_id="google",
        example="gemini:gemini-2.5-flash",
    ),
    _compatible(
        "deepseek",
        "https://api.deepseek.com",
        "deepseek:deepseek-chat",
        price_id="deepseek",
        images=False,
    ),
    _compatible("moonshot", "https://api.moonshot.ai/v1", "moonshot:kimi-k2.5", price_id="moonshotai"),
    _compatible("zai", "https://api.z.ai/api/paas/v4", "zai:glm-4.6", price_id="zai"),
    _compatible("zhipu", "https://open.bigmodel.cn/api/paas/v4", "zhipu:glm-4.7", price_id="zhipuai"),
    _compatible(
        "alibaba",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "alibaba:qwen-plus",
        prefix="DASHSCOPE",
        price_note="the price list has none of Model Studio, whose prices differ by region: give yours in `prices`",
    ),
    _compatible(
        "openrouter", "https://openrouter.ai/api/v1", "openrouter:openai/gpt-5-mini", price_id="openrouter"
    ),
    _compatible("groq", "https://api.groq.com/openai/v1", "groq:llama-3.3-70b-versatile", price_id="groq"),
    _compatible("mistral", "https://api.mistral.ai/v1", "mistral:mistral-small-latest", price_id="mistral"),
    _compatible("xai", "https://api.x.ai/v1", "xai:grok-4.20", price_id="x-ai"),
    _compatible(
        "together",
        "https://api.together.xyz/v1",
        "together:openai/gpt-oss-120b",
        price_id="together",
        domains=("together.ai",),
    ),
    _compatible(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "fireworks:accounts/fireworks/models/gpt-oss-120b",
        price_id="fireworks",
    ),
    _compatible(
        "cerebras", "https://api.cerebras.ai/v1", "cerebras:gpt-oss-120b", price_id="cerebras", images=False
    ),
    _compatible(
        "huggingface",
        "https://router.huggingface.co/v1",
        "huggingface:openai/gpt-oss-120b:groq",
        price_id="huggingface",
        key_env="HF_TOKEN",
    ),
    _compatible("perplexity", "https://api.perplexity.ai", "perplexity:sonar", price_id="perplexity"),
    Spec(
        "azure",
        "po_jupyter.llm.providers.openai.client:make_azure",
        key_env="AZURE_OPENAI_API_KEY",
        base_env="AZURE_OPENAI_ENDPOINT",
        price_id="azure",
        example="azure:gpt-5-mini",
        domains=("azure.com", "azure.us", "azure.cn", "azure-api.net"),
    ),
    _own_server("ollama", "http://127.0.0.1:11434/v1", "ollama:qwen3:4b"),
    _own_server("vllm", "http://127.0.0.1:8000/v1", "vllm:Qwen/Qwen3-4B"),
    _own_server("lmstudio", "http://127.0.0.1:1234/v1", "lmstudio:qwen3-4b"),
    _own_server("llamacpp", "http://127.0.0.1:8080/v1", "llamacpp:any"),
    Spec(
        "local",
        "po_jupyter.llm.providers.local:make",
        free=True,
        example="local:smollm2-135m",
        images=False,
        answer_tokens=1024,
    ),
    Spec("fake", "po_jupyter.llm.providers.fake:make", free=True, example="fake:echo"),
    _cli_agent(
        "claude-cli",
        "claude-cli:sonnet",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ),
    _cli_agent("codex-cli", "codex-cli:default", "CODEX_API_KEY", "OPENAI_API_KEY"),
    _cli_agent("opencode-cli", "opencode-cli:anthropic/claude-sonnet-4-5", "OPENCODE_API_KEY"),
)

# Other names that people try; the error for an unknown provider suggests the right one.
ALSO_CALLED: Mapping[str, str] = {
    "qwen": "alibaba", "dashscope": "alibaba", "kimi": "moonshot", "google": "gemini", "claude": "anthropic",
    "glm": "zai", "z.ai": "zai", "zhipuai": "zhipu", "llama.cpp": "llamacpp", "llama-cpp": "llamacpp",
    "lm-studio": "lmstudio", "chatgpt": "openai", "gpt": "openai", "grok": "xai", "x-ai": "xai", "x.ai": "xai",
    "hf": "huggingface", "hugging-face": "huggingface", "togetherai": "together", "together-ai": "together",
    "fireworks-ai": "fireworks", "mistralai": "mistral", "sonar": "perplexity", "pplx": "perplexity",
    "azure-openai": "azure", "azureopenai": "azure", "azure_openai": "azure",
}  # fmt: skip


@lru_cache(maxsize=1)
def specs() -> Mapping[str, Spec]:
    """Every provider by name; a plugin cannot take over a built-in name. Imports no plugin's package."""
    by_name = {spec.name: spec for spec in BUILT_IN}
    for entry in entry_points(group=ENTRY_POINTS):
        by_name.setdefault(entry.name, Spec(entry.name, Plugin(entry)))
    return by_name


def load_plugin(spec: Spec) -> Spec:
    """The spec that a plugin holds; `spec` itself when it is built in, or the plugin is a factory without a spec.

    Imports the plugin's package, and raises whatever that raises.
    """
    if not isinstance(spec.factory, Plugin):
        return spec
    loaded = spec.factory.entry.load()
    return loaded if isinstance(loaded, Spec) else spec


@lru_cache(maxsize=64)
def spec_of(name: str) -> Spec | None:
    """The full description of a provider; None when there is none of that name, or its plugin is broken.

    Imports a plugin's package, which `specs()` does not do.
    """
    spec = specs().get(name)
    if spec is None:
        return None
    try:
        return load_plugin(spec)
    except Exception:  # whatever a stranger's module raises
        return None


def load_factory(spec: Spec) -> Factory:
    """The function that makes the provider of a spec. Imports its module."""
    factory: Factory
    if isinstance(spec.factory, Plugin):
        factory = spec.factory.entry.load()
        return factory
    if isinstance(spec.factory, str):
        module, _, function = spec.factory.partition(":")
        factory = getattr(import_module(module), function)
        return factory
    return spec.factory
