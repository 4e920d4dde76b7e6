"""Having runs looked after, by our own workers or by the server that has them. One part of the orchestrator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.ipc import channel as link
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.environment.service import Facilities
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.store.protocol import Head

log = structlog.get_logger("po_jupyter.orchestrator")


class Waking(Facilities):
    """Who wrote to a run's log says so here, and somebody acts on it."""

    feed: Feed
    _address: Path

    async def _begin(self, head: Head, definition: Mapping[str, Any]) -> RunView:
        """Have a run that was made right now worked off."""
        self.feed.changed(head["run"])
        if self._supervisor is not None:
            self._supervisor.submitted(head, RunDefinition.from_json(definition))
        else:
            await self._nudge(head["run"])
        return await self._view(head)

    async def _changed(self, run: str) -> RunView:
        self.feed.changed(run)
        if self._supervisor is not None:
            await self._supervisor.attend(run)
        else:
            await self._nudge(run)
        return await self._view(await self._do(self._store.head, run))

    async def _nudge(self, run: str) -> None:
        """Tell the holder; when it does not hear, the next one finds the run in the store."""
        following = self._following
        reply = await (following.poke(run) if following is not None else link.notify(self._address, run))
        if not reply:
            log.warning("no orchestrator answers; the run starts when one does", run=run)
