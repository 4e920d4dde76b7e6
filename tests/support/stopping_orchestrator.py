"""An orchestrator that is stopped under a request."""

from __future__ import annotations

import asyncio
from typing import Any

from po_jupyter.server.routing.api import OrchestratorApi
from tests.support.fake_orchestrator import FakeOrchestrator


class StoppingOrchestrator(FakeOrchestrator):
    """What is asked of it waits for the stop, which closes the threads that it needs, or drops what waits for one."""

    async def start(self) -> OrchestratorApi:
        self.threads_closed = asyncio.Event()
        self.runs.page = self._page  # type: ignore[method-assign]
        self.pipelines.summaries = self._summaries  # type: ignore[method-assign]
        return self

    async def _page(self, *_: Any, **__: Any) -> Any:
        await self.threads_closed.wait()
        raise RuntimeError("cannot schedule new futures after shutdown")

    async def _summaries(self, **_: Any) -> Any:
        await self.threads_closed.wait()
        raise asyncio.CancelledError

    async def stop(self) -> None:
        self.threads_closed.set()
        await asyncio.sleep(0.2)  # its other parts
        await super().stop()
