"""An orchestrator that takes its time to start."""

from __future__ import annotations

import asyncio

from po_jupyter.server.routing.api import OrchestratorApi
from tests.support.fake_orchestrator import FakeOrchestrator


class SlowOrchestrator(FakeOrchestrator):
    """Two seconds."""

    async def start(self) -> OrchestratorApi:
        await asyncio.sleep(2)
        return await super().start()
