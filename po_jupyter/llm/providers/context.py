"""The provider context: what a factory of the provider table may use to make its provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from po_jupyter.llm.providers.refs import provider_key
from po_jupyter.llm.specs import Spec

if TYPE_CHECKING:
    from po_jupyter.llm.providers.short_lived import ShortLivedCredentials
    from po_jupyter.llm.specs import ProviderEndpoint, Resolver
    from po_jupyter.llm.wire.http import Http


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """The context of a provider factory.

    spec        the row of the provider table
    environ     keys and base URLs of the worker; never shown
    http        the worker's connections
    local       finds, or starts, the server of an embedded model; None where no such server is run
    cli_agents  CLI agents are allowed here
    hub_url     the gateway of a hub; None: there is none
    renew       gets the variables of the provider's key or login anew; None: they are obtained here
    """

    spec: Spec
    environ: Mapping[str, str] = field(repr=False)
    http: Http
    local: Resolver | None = None
    cli_agents: bool = False
    hub_url: str | None = None
    renew: Callable[[], Awaitable[Mapping[str, str]]] | None = field(default=None, repr=False)

    def short_lived(self) -> ShortLivedCredentials:
        """The credentials of the provider's login: those of `environ`, and anew when they end."""
        from po_jupyter.llm.providers.short_lived import EXPIRES, ShortLivedCredentials

        first = {name: self.environ[name] for name in self.spec.credential_variables if self.environ.get(name)}
        if first and EXPIRES in self.environ:
            first[EXPIRES] = self.environ[EXPIRES]
        return ShortLivedCredentials(first, self.renew or self._obtain)

    async def _obtain(self) -> Mapping[str, str]:
        from po_jupyter.llm.specs import obtain_credentials

        return await asyncio.to_thread(obtain_credentials, self.spec, self.environ)

    @property
    def key(self) -> str | None:
        """The provider's key, or None. Raises ModelKeyError when it needs one and has none."""
        return provider_key(self.spec, self.environ)

    @property
    def base_url(self) -> str:
        """The base URL of the environment, else the provider's own."""
        return self.spec.base_url_in(self.environ)

    @property
    def behind_gateway(self) -> bool:
        """Whether the base URL is that of the hub's gateway."""
        return self.hub_url is not None and self.base_url == self.spec.team_url(self.hub_url)

    @property
    def endpoint(self) -> ProviderEndpoint:
        """Base URL and key together. Raises ModelKeyError."""
        from po_jupyter.llm.specs import ProviderEndpoint

        return ProviderEndpoint(self.base_url, self.key)
