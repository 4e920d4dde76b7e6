"""An orchestrator that cannot start yet: tried again by itself, and everybody is told why meanwhile."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSettings, StoreUnusable
from po_jupyter.server import lifecycle as hosting
from po_jupyter.server.lifecycle import OrchestratorLifecycle
from po_jupyter.server.routing.api import OrchestratorApi
from po_jupyter.telemetry import correlation, tracing
from tests.support.fake_orchestrator import FakeOrchestrator


class Full(FakeOrchestrator):
    """An orchestrator whose disk is full for the first two starts."""

    starts = 0

    async def start(self) -> OrchestratorApi:
        type(self).starts += 1
        if self.starts <= 2:
            raise StoreUnusable("the disk is full", hint="Make room.")
        return self


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "RETRY_AFTER", 0.05)
    monkeypatch.setattr(hosting, "_log_to_file", lambda settings: None)
    Full.starts = 0


async def test_runs_go_on_when_the_disk_has_room_again_although_nobody_asks(tmp_path: Path) -> None:
    """R1.2: incomplete runs are found at every start, so a start that fails is tried again."""
    host = OrchestratorLifecycle(Settings(data_dir=tmp_path), Full, logging.getLogger("test"))
    host.begin()
    async with asyncio.timeout(5):
        while "full" not in str((await host.readiness())["store"]):
            await asyncio.sleep(0.005)
        while not (await host.readiness())["ready"]:
            await asyncio.sleep(0.005)
    assert Full.starts == 3
    await host.stop()


async def test_what_a_request_starts_is_nothing_of_that_request(tmp_path: Path) -> None:
    """After a start that failed: scheduled runs were in its trace and made by its person while the server was up."""
    seen: list[tuple[str | None, str, str]] = []

    class Looking(FakeOrchestrator):
        async def start(self) -> OrchestratorApi:
            seen.append((tracing.traceparent(), correlation.request_id.get(), correlation.actor.get()))
            return self

    host = OrchestratorLifecycle(Settings(data_dir=tmp_path), Looking, logging.getLogger("test"))

    async def request() -> None:
        tracing.accept("00-" + "a" * 32 + "-" + "1" * 16 + "-01")
        correlation.request_id.set("r")
        correlation.actor.set("ada")
        await host.ready()

    await asyncio.create_task(request())
    assert seen == [(None, "", "")]
    await host.stop()


async def test_settings_that_cannot_be_used_and_a_stopped_server_are_not_tried_again(tmp_path: Path) -> None:
    broken = OrchestratorLifecycle(
        Settings(data_dir=tmp_path), Full, logging.getLogger("test"), InvalidSettings("no")
    )
    broken.begin()
    stopped = OrchestratorLifecycle(Settings(data_dir=tmp_path), Full, logging.getLogger("test"))
    stopped.begin()
    async with asyncio.timeout(5):
        while Full.starts < 1:
            await asyncio.sleep(0.005)
    await stopped.stop()
    await asyncio.sleep(0.2)
    assert Full.starts <= 2
    assert not (await broken.readiness())["ready"]
    await broken.stop()


class Hangs:
    """An orchestrator whose store answers nothing any more, and which never stops."""

    def __init__(self, settings: Settings) -> None:
        self.monitoring = self

    async def start(self) -> Any:
        return self

    def ready(self) -> dict[str, Any]:
        return {"ready": True, "orchestrator": True, "store": "ok"}

    async def probe(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        await asyncio.Event().wait()


async def test_threads_that_hang_are_not_ready_and_keep_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: `ready` asks what serves everybody else, and a stop ends whatever hangs."""
    monkeypatch.setattr(hosting, "PROBE_PATIENCE", 0.02)
    monkeypatch.setattr(hosting, "STOP_PATIENCE", 0.02)
    host = OrchestratorLifecycle(Settings(data_dir=tmp_path), cast(Any, Hangs), logging.getLogger("test"))
    await host.ready()
    for _ in range(2):
        report = await host.readiness()
        assert not report["ready"]
        assert "no answer" in str(report["store"])
    async with asyncio.timeout(5):
        await host.stop()
