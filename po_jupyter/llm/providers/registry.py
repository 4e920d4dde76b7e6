"""The provider registry of a worker: opens providers by model ref when they are first used, over one `Http`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from po_jupyter.errors import ModelKeyError, ModelRefused, PoError
from po_jupyter.llm.money.team_prices import PENDING, TeamPrices, answer_of
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.refs import names_file, parse_ref, runs_code
from po_jupyter.llm.specs import Plugin, Spec, load_factory, load_plugin, spec_of, specs

if TYPE_CHECKING:
    from po_jupyter.llm.chat import Provider
    from po_jupyter.llm.specs import Resolver
    from po_jupyter.llm.wire.http import Http


GetKey: TypeAlias = Callable[[str], Awaitable[Mapping[str, str]]]
"""The variables with the key of a provider, by the provider's name."""
_NO_TOKEN = "no-token-yet"  # noqa: S105  # it is none


class Connections:
    """Connections to models that the registries of several runs share. Lives on one loop."""

    def __init__(self) -> None:
        """None is open."""
        self._http: Http | None = None

    def http(self) -> Http:
        """The client over them."""
        if self._http is None:
            from po_jupyter.llm.wire.http import Http

            self._http = Http()
        return self._http

    async def aclose(self) -> None:
        """Close them."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


class Providers:
    """The open providers of one worker.

    `environ` (base URLs, and keys where there is no `get_key`) is passed in and never shown; `local` finds the local
    model's server. Each provider sees its own key alone.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        http: Http | None = None,
        connections: Connections | None = None,
        local: Resolver | None = None,
        get_key: GetKey | None = None,
        opened: Mapping[str, Provider] | None = None,
        cli_agents: bool = False,
        hub_url: str | None = None,
        team_prices: TeamPrices | None = None,
    ) -> None:
        """`opened` are providers that exist already, by name: for tests. `cli_agents` allows CLI agents; `connections`
        are shared with others, which close them; `hub_url` is the gateway of a hub, if there is one, and
        `team_prices` what it says of prices, which comes with keys."""
        self.team_prices = team_prices
        self._hub_url = hub_url
        self._environ = environ
        self._base_urls: dict[str, str | None] = {}  # of providers
        self._cli_agents = cli_agents
        self._agents_refused_because = ""
        self._http = http
        self._own_http = http is None and connections is None
        self._connections = connections
        self._local = local
        self._get_key = get_key
        self._keys: dict[str, Mapping[str, str]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._opened: dict[str, Provider] = dict(opened or {})

    def allow_cli_agents(self, on: bool, *, submitter: bool = True) -> None:
        """Allow CLI agents when the setting is `on` and the submitter of the run may use them."""
        self._cli_agents = on and submitter
        self._agents_refused_because = (
            "" if submitter else "whoever submitted this run lacks the scope code:run"
        )

    def prepare(self, ref: str) -> Awaitable[None] | None:
        """Get the key that the provider of a model ref needs, before `get`; None when there is nothing to wait for.
        Once more while a gateway has not said its prices, which come with the key. The wait raises what `get_key`
        raises."""
        name = ref.partition(":")[0]
        is_pending = self.team_prices is not None and self.team_prices.is_pending(ref)
        if self._get_key is None or (not is_pending and (name in self._keys or name in self._opened)):
            return None
        spec = spec_of(name)
        if spec is None or not spec.key_variables:
            return None
        waiting = self._waiting.get(name)
        if waiting is None:  # once, however many rows ask
            waiting = self._waiting[name] = asyncio.ensure_future(self._fetch_key(name, self._get_key))
        return asyncio.shield(waiting)

    async def _fetch_key(self, name: str, get_key: GetKey) -> None:
        try:
            await self._take_key(name, get_key)
        finally:
            del self._waiting[name]

    async def _take_key(self, name: str, get_key: GetKey) -> None:
        try:
            self._keep_key(name, await get_key(name))
        except ModelKeyError as error:
            spec = spec_of(name)
            if self._hub_url is None or spec is None or error.details.get("waits_for") != "token":
                raise
            # The server is being started again: the gateway refuses the call, and its wait is for the token.
            self._keep_key(name, {spec.base_env: spec.team_url(self._hub_url), spec.key_env: _NO_TOKEN})
            if self.team_prices is not None:
                self.team_prices.learn(name, PENDING)

    def get(self, ref: str) -> Provider:
        """The provider of a model ref. Raises InvalidInput (unknown) or ModelKeyError (no key)."""
        name = ref.partition(":")[0]
        provider = self._opened.get(name)
        if provider is None:
            parse_ref(ref)
            if self._agents_refused_because and runs_code(ref):
                raise ModelRefused(
                    f"{name} may run commands, and {self._agents_refused_because}",
                    hint="Use another model for this run.",
                )
            provider = self._opened[name] = self._open(name)
        return provider

    def _open(self, name: str) -> Provider:
        spec = load_plugin(specs()[name])
        context = self._context(spec)
        provider = load_factory(spec)(context)
        if self._hub_url is None or not context.behind_gateway:
            return provider
        from po_jupyter.llm.providers.team import TeamProvider

        return TeamProvider(
            provider,
            self._hub_url,
            context.http,
            partial(self._reopen, spec),
            partial(self._learn_prices, spec.name),
            self.team_prices.is_pending if self.team_prices is not None else lambda ref: False,
        )

    def _learn_prices(self, name: str, answer: object) -> None:
        """Take the prices out of the gateway's list of models, which may be there before the orchestrator has asked."""
        if self.team_prices is not None and self.team_prices.is_pending(f"{name}:"):
            from po_jupyter.llm.money.gateway_prices import entries_in, prices_in

            with suppress(ValueError):
                self.team_prices.learn(name, answer_of(prices_in(entries_in(answer), name)))

    async def _reopen(self, spec: Spec) -> tuple[Provider, str | None]:
        """A provider with its key as it is now, and the key for the gateway: None for a provider that is asked
        elsewhere now, with a key of the user's own. Raises what `get_key` raises."""
        if self._get_key is not None:
            self._keep_key(spec.name, await self._get_key(spec.name))
        context = self._context(spec)
        is_elsewhere = self._hub_url is None or context.base_url != spec.team_url(self._hub_url)
        return load_factory(spec)(context), None if is_elsewhere else context.key or ""

    def _context(self, spec: Spec) -> ProviderContext:
        if self._http is None:
            self._http = (self._connections or Connections()).http()
        environ = {**self._environ, **self._keys.get(spec.name, {})}
        renew = partial(self._renew, spec.name) if self._get_key is not None else None
        return ProviderContext(spec, environ, self._http, self._local, self._cli_agents, self._hub_url, renew)

    async def _renew(self, name: str) -> Mapping[str, str]:
        """The variables of a provider's key or login as they are now. Raises what `get_key` raises."""
        assert self._get_key is not None
        return self._keep_key(name, await self._get_key(name))

    def _keep_key(self, name: str, variables: Mapping[str, str]) -> Mapping[str, str]:
        self._keys[name] = variables
        self._base_urls.pop(name, None)  # behind a gateway the key says whether it is asked there
        return variables

    async def learn_addresses(self) -> None:
        """Behind a gateway: learn where the vendors are asked that the environment has an address of, which holds with
        the user's own key alone."""
        for name, spec in specs().items() if self._hub_url is not None else ():
            if spec.is_vendor and self._environ.get(spec.base_env):
                with suppress(PoError):  # what is wrong with the key is said where it is needed
                    if (preparing := self.prepare(f"{name}:")) is not None:
                        await preparing

    def base_url(self, ref: str) -> str | None:
        """The base URL of a model, for the cache of calls: another address, another answer.

        None when there is no one address, or the provider may do more than answer. For the file of a local model
        its size and time of change.
        """
        name, _, model = ref.partition(":")
        if name not in self._base_urls:  # asked for several times a call
            self._base_urls[name] = self._base_url_of(name)
        if names_file(ref) and self._base_urls[name] is not None:
            try:
                file = os.stat(os.path.expanduser(model))
            except OSError:
                return None
            return f"{file.st_size}-{file.st_mtime_ns}"  # another file under the same name
        return self._base_urls[name]

    def _base_url_of(self, provider: str) -> str | None:
        spec = spec_of(provider)
        if spec is None or spec.runs_code or isinstance(spec.factory, Plugin):
            return None
        key = self._keys.get(provider)
        if self._hub_url is not None and spec.is_vendor and key is None and self._get_key is not None:
            return spec.team_url(self._hub_url)
        return spec.base_url_in({**self._environ, **(key or {})}).rstrip("/")

    async def aclose(self) -> None:
        """Close every provider, then the connections if they are the registry's own."""
        opened, self._opened = list(self._opened.values()), {}
        for provider in opened:
            await provider.aclose()
        if self._own_http and self._http is not None:
            await self._http.aclose()
            self._http = None
