"""A row of the provider table: `Spec`, and what is in one. Data, without HTTP or prices."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from po_jupyter.llm.chat import Provider

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
class Login:
    """The login of a vendor's own tools on this machine, which does in the place of a key.

    obtain       import path of `(environ) -> variables`: short-lived credentials, for a worker's provider alone. It may
                 ask the network, and raises ModelKeyError with what to do
    credentials  the variables that they are in
    extra        of this package: it brings the vendor's library
    module       of that library
    variables    each of them says that there is a login
    files        below the home directory that say so too
    machines     names in the firmware of the vendor's own machines, which have a login of their own
    """

    obtain: str
    credentials: tuple[str, ...]
    extra: str
    module: str
    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Whether the vendor's library is here; nothing is imported but the packages around it."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:  # of the package around it
            return False

    def is_there(self, environ: Mapping[str, str]) -> bool:
        """Whether there are signs of a login; nothing is asked, and none of them says that it is good."""
        if any(environ.get(name, "").strip() for name in self.variables):
            return True
        home = Path(environ.get("HOME") or os.path.expanduser("~"))
        if any((home / file).is_file() for file in self.files):
            return True
        return any(name in _firmware() for name in self.machines)


@lru_cache(maxsize=1)
def _firmware() -> str:
    """Who made this machine, as its firmware says; "" where that cannot be read."""
    texts = []
    for name in ("sys_vendor", "product_name", "bios_vendor"):
        with contextlib.suppress(OSError):
            texts.append(Path("/sys/class/dmi/id", name).read_text("utf-8", "replace"))
    return " ".join(texts)


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
    pdf           a pattern of the models that take PDF files, "" when none does
    audio         the same of the models that take sound (WAV and MP3)
    logprobs      the same of the models that give log probabilities, where they do not think
    price_note    why its models have no price in the list; "" when they have
    answer_tokens the bound of an answer where nobody sets one; 0: as the setting says
    domains       of the vendor's servers, where they are others than that of `base_url`
    batch         it has a batch API (`mode: batch`): its provider has `batches`, see `llm.batches.protocol`
    embeddings    it makes vectors of texts (requests with `embed`)
    embedding_models  a pattern of the models that do, and give no answers; "" where names do not tell
    service_tiers   the tiers beside the standard one that it takes (`llm.money.service_tiers`)
    agent_keys    the variables that may hold the key of a CLI agent, as its program looks them up
    login         what does where there is no key
    region_env    the variables that hold the region of its servers, which is `{region}` in `base_url`
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
    pdf: str = ""
    audio: str = ""
    logprobs: str = ""
    batch: bool = False
    embeddings: bool = False
    embedding_models: str = ""
    service_tiers: tuple[str, ...] = ()
    answer_tokens: int = 0
    price_note: str = ""
    agent_keys: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    login: Login | None = None
    region_env: tuple[str, ...] = ()

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
        """The base URL in `environ`, else the provider's own; "" where that has a region, and none is set."""
        own = plain_value(environ.get(self.base_env, ""))
        if own or not self.region_env:
            return own or self.base_url
        region = self.region_in(environ)
        return regional_url(self.base_url, region) if region else ""

    def region_in(self, environ: Mapping[str, str]) -> str:
        """The region of its servers; "" where none is set, and for a text that is no name of one."""
        region = next((v for name in self.region_env if (v := plain_value(environ.get(name, "")))), "")
        return region if _REGION.fullmatch(region) else ""

    @property
    def credential_variables(self) -> tuple[str, ...]:
        """The variables of the credentials that a login gives."""
        return self.login.credentials if self.login is not None else ()

    def has_login(self, environ: Mapping[str, str]) -> bool:
        """Whether there are signs of a login that does in the place of a key."""
        return self.login is not None and self.login.is_there(environ)

    def team_url(self, hub_url: str) -> str:
        """The base URL behind the gateway of a hub: the vendor's own paths are below it."""
        path = "" if self.name in ("anthropic", "gemini") else "/v1"
        return f"{hub_url}/{self.name}{path}"

    @property
    def is_vendor(self) -> bool:
        """Whether it is asked over the network, with a key and for money, and a gateway can stand before it."""
        return bool(self.key_env and self.base_env) and not (self.free or self.runs_code or self.login)

    def is_home(self, url: str) -> bool:
        """True for an address of the vendor's own, whose prices are its."""
        host = _host_of(url)
        own = "" if self.free else ".".join(_host_of(self.base_url).split(".")[-2:])
        return any(f".{host}".endswith(f".{domain}") for domain in (own, *self.domains) if domain)


_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?")


def regional_url(pattern: str, region: str) -> str:
    """The address of a region's servers: Google's `global` ones have no region in their name, China's another end."""
    if region == "global":
        return pattern.replace("{region}-", "")
    if region in ("us", "eu") and pattern.endswith("//{region}-aiplatform.googleapis.com"):
        return f"https://aiplatform.{region}.rep.googleapis.com"  # of several regions
    url = pattern.replace("{region}", region)
    return url + ".cn" if region.startswith("cn-") and url.endswith("amazonaws.com") else url


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # brackets without an address in them
        return ""


def plain_value(value: str) -> str:
    """The value of a variable without spaces and one pair of quotes around it, which some files of variables keep."""
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].strip()
    return value
