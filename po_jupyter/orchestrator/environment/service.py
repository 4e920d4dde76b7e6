"""What runs need outside of themselves: keys, programs, a machine that works. One part of the orchestrator."""

from __future__ import annotations

import builtins
from typing import Any

from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.orchestrator.environment import preflight
from po_jupyter.orchestrator.environment.key_store import Keys
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.orchestrator.views.queries import Reader
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool


class Facilities(Reader):
    """Keys, models, the check before a run, the doctor."""

    _keys: Keys
    _zygotes: ZygotePool

    async def list_keys(self) -> builtins.list[dict[str, Any]]:
        """Every provider that takes a key, and what there is of it, masked (see `llm.keys.KeyState`)."""
        return [state.to_json() for state in await self._do(self._keys.states, self.settings.inherited)]

    async def set_key(self, provider: str, key: str) -> dict[str, Any]:
        """Keep a key; the next run has it. Raises InvalidInput, StoreUnusable."""

        def keep() -> dict[str, Any]:
            self._keys.put(provider, key)
            return self._keys.state(provider, self.settings.inherited).to_json()

        return await self._do(keep)

    async def remove_key(self, provider: str) -> None:
        """Forget a stored key. NotFound, InvalidInput, StoreUnusable."""
        await self._do(self._keys.remove, provider)

    async def models(
        self, *, word: str | None = None, provider: str | None = None
    ) -> builtins.list[dict[str, Any]]:
        """Models by name, usable ones first, as a worker started now would see them. Raises InvalidInput."""
        from po_jupyter.llm.money.pricing import PriceBook
        from po_jupyter.llm.providers.catalogue import list_models

        def look() -> builtins.list[dict[str, Any]]:
            environ, _ = self._keys.environment(self.settings.inherited)
            return list_models(
                environ,
                cli_agents=self.settings.cli_agents,
                word=word,
                provider=provider,
                prices=PriceBook(self.settings.prices),
            )

        return await self._do(look)

    async def doctor(self, *, online: bool = False) -> builtins.list[dict[str, Any]]:
        """`{what, verdict, found, todo}` of everything that a run needs here; with `online` providers are asked."""
        from po_jupyter.orchestrator.doctor import examine

        found = await examine(self.settings, self._keys, self._zygotes, self._store, self._do, online=online)
        if self._supervisor is None:
            words = "another server of this data directory has the workers, and its environment counts for keys"
            found.insert(0, {"what": "workers of another", "verdict": "note", "found": words, "todo": ""})
        return found

    def _check_models(self, asked: submission.Submission, pipeline: Pipeline, code_allowed: bool) -> None:
        """Raises Forbidden (a CLI agent without the scope for it), InvalidEnvironment."""
        model = asked.options.model
        preflight.check_code(pipeline, self.settings, code_allowed=code_allowed, model=model)
        # Another server has the workers when this one has no supervisor, and its environment is what counts.
        skip = asked.options.skip_validation or self.settings.skip_validation
        if self._supervisor is not None and not skip:
            preflight.check(pipeline, self.settings, self._keys, model)

    def _check_agents(self, run: str, code_allowed: bool) -> None:
        """Raises Forbidden when who goes on with a run may not use what it asks. Blocks."""
        model = (self._store.definition(run).get("options") or {}).get("model")
        preflight.check_code(self._views.pipeline(run), self.settings, code_allowed=code_allowed, model=model)

    def _warnings(self, pipeline: Pipeline, options: submission.Options | None = None) -> builtins.list[str]:
        """The same in words; nothing is refused."""
        if self._supervisor is None:
            return []
        return preflight.warnings(
            pipeline, self.settings, self._keys, options.model if options is not None else None
        )
