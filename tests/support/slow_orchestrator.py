"""One that takes its time to start."""

from __future__ import annotations

import asyncio

from tests.support.fake_orchestrator import FakeOrchestrator


class Slow(FakeOrchestrator):
    async def start(self) -> None:
        await asyncio.sleep(2)
