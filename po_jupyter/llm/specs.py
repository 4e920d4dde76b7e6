"""The provider table: one `Spec` for each provider, built in or from a plugin. Data, without HTTP or prices.

A third party adds a provider through the entry-point group `po_jupyter.providers`: the entry's name is the provider's
name, its object a `Spec`, or a factory `(context) -> Provider`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points

from po_jupyter.llm.built_in import ALSO_CALLED, BUILT_IN
from po_jupyter.llm.provider_spec import (
    Factory,
    Login,
    Plugin,
    ProviderEndpoint,
    Resolver,
    Spec,
    plain_value,
)

__all__ = [
    "ALSO_CALLED",
    "BUILT_IN",
    "ENTRY_POINTS",
    "Factory",
    "Login",
    "Plugin",
    "ProviderEndpoint",
    "Resolver",
    "Spec",
    "addresses_in",
    "is_elsewhere",
    "load_factory",
    "load_plugin",
    "obtain_credentials",
    "plain_value",
    "spec_of",
    "specs",
]

ENTRY_POINTS = "po_jupyter.providers"


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


def obtain_credentials(spec: Spec, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The short-lived credentials of a provider's login, as variables. May ask the network: call it in a thread.

    Raises ModelKeyError with what to do.
    """
    assert spec.login is not None
    module, _, function = spec.login.obtain.partition(":")
    obtained: Mapping[str, str] = getattr(import_module(module), function)(environ)
    return obtained


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
