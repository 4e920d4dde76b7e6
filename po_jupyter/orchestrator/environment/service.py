"""The environment of runs, as people see and change it: keys of providers, and the models that can be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from po_jupyter.config import Price
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.threads import ToThread


class EnvironmentService:
    """Keys and models of one orchestrator, for callers on its loop."""

    def __init__(
        self,
        keys: KeyStore,
        to_thread: ToThread,
        *,
        inherited: Iterable[str],
        cli_agents: bool,
        prices: Mapping[str, Price],
    ) -> None:
        """`inherited` names variables that workers get beside the usual ones (`Settings.worker_env`)."""
        self._keys = keys
        self._to_thread = to_thread
        self._inherited = tuple(inherited)
        self._cli_agents = cli_agents
        self._prices = prices

    async def list_keys(self) -> list[Mapping[str, object]]:
        """Every provider that takes a key, and the state of its key, masked (see `llm.credentials.keys.KeyState`)."""
        return [state.to_json() for state in await self._to_thread(self._keys.states, self._inherited)]

    async def set_key(self, provider: str, key: str) -> Mapping[str, object]:
        """Store a key; the next run has it. Raises InvalidInput, StoreUnusable."""

        def put() -> JsonObject:
            self._keys.put(provider, key)
            return self._keys.state(provider, self._inherited).to_json()

        return await self._to_thread(put)

    async def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound, InvalidInput, StoreUnusable."""
        await self._to_thread(self._keys.remove, provider)

    async def models(self, *, word: str | None = None, provider: str | None = None) -> list[JsonObject]:
        """Models by name, usable ones first, as a worker started now would see them. Raises InvalidInput."""

        def read() -> list[JsonObject]:
            return listed_models(
                self._keys,
                self._prices,
                self._inherited,
                cli_agents=self._cli_agents,
                word=word,
                provider=provider,
            )

        return await self._to_thread(read)


def listed_models(
    keys: KeyStore,
    prices: Mapping[str, Price],
    inherited: Iterable[str],
    *,
    cli_agents: bool,
    word: str | None = None,
    provider: str | None = None,
) -> list[JsonObject]:
    """Models as `EnvironmentService.models` has them. Blocks. Raises InvalidInput."""
    from po_jupyter.llm.credentials.team_listing import team_listing
    from po_jupyter.llm.money.pricing import PriceBook
    from po_jupyter.llm.providers.catalogue import list_models
    from po_jupyter.llm.specs import addresses_in

    environ, _ = keys.environment(inherited)
    team = keys.team
    return list_models(
        environ,
        cli_agents=cli_agents,
        word=word,
        provider=provider,
        prices=PriceBook(
            prices, base_url=addresses_in(environ), hub_url=team.url if team is not None else None
        ),
        adapt=list
        if team is None
        else lambda listed: team_listing(listed, environ, team.url, team.catalogue()),
    )
