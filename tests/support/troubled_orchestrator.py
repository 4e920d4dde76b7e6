"""An orchestrator in memory on a machine that has nothing left: the name of a pipeline says of what."""

from __future__ import annotations

from po_jupyter.config import Settings
from po_jupyter.server.routing.api import JsonMapping
from tests.support.fake_orchestrator import FakeOrchestrator, FakePipelines


class TroubledPipelines(FakePipelines):
    async def get(self, name: str, *, owner: str) -> JsonMapping:
        if name == "thread":
            raise RuntimeError("can't start new thread")
        if name == "memory":
            raise MemoryError
        raise OSError(int(name), "nothing left")


class TroubledOrchestrator(FakeOrchestrator):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pipelines = TroubledPipelines(self.log)
