"""Local models: one server for a model whoever wants it, ended when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import ModelUnavailable, Unavailable
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.orchestrator.environment import local_models
from po_jupyter.orchestrator.environment.local_models import LocalModels


class Server:
    """A server that is ready once `gate` is open."""

    made: list[Server]
    failing = False

    def __init__(self, model: str, *, directory: Path | None, progress: Callable[..., None]) -> None:
        self.model, self.directory, self.progress = model, directory, progress
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.stopped = asyncio.Event()
        type(self).made.append(self)

    async def ready(self) -> ProviderEndpoint:
        self.waiting.set()
        await self.gate.wait()
        if self.failing:
            raise ModelUnavailable("the disk is full")
        return ProviderEndpoint(f"http://{self.model}")

    async def stop(self) -> None:
        self.stopped.set()


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "made", [], raising=False)
    monkeypatch.setattr(local_models, "LocalServer", Server)


async def test_workers_that_want_the_same_model_share_its_server(tmp_path: Path) -> None:
    models = LocalModels(Settings(models_dir=tmp_path))
    heard: list[str] = []
    both = [asyncio.ensure_future(models.endpoint("m", heard.append)) for _ in range(2)]
    await asyncio.sleep(0)
    (server,) = Server.made
    server.gate.set()
    assert [endpoint.base_url for endpoint in await asyncio.gather(*both)] == ["http://m"] * 2
    assert server.directory == tmp_path
    other = asyncio.ensure_future(models.endpoint("other", heard.append))
    await asyncio.sleep(0)
    Server.made[1].gate.set()
    await other
    await models.close()
    assert all(server.stopped.is_set() for server in Server.made)


async def test_whoever_waits_hears_of_the_download_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who started a run sees why nothing happens yet."""
    monkeypatch.setattr(local_models, "_REPORT", 0.0)
    models = LocalModels(Settings())
    heard: list[str] = []
    waiting = asyncio.ensure_future(models.endpoint("m", heard.append))
    await asyncio.sleep(0)
    (server,) = Server.made
    await asyncio.to_thread(server.progress, 5_000_000, 100_000_000)
    await asyncio.to_thread(server.progress, 9_000_000, None)
    await asyncio.sleep(0)
    assert heard == ["the weights of m (5 of 100 MB)", "the weights of m (9 MB)"]
    server.gate.set()
    await waiting
    await asyncio.to_thread(server.progress, 99_000_000, 100_000_000)
    await asyncio.sleep(0)
    assert len(heard) == 2
    await models.close()


async def test_progress_is_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "_REPORT", 60.0)
    models = LocalModels(Settings())
    heard: list[str] = []
    waiting = asyncio.ensure_future(models.endpoint("m", heard.append))
    await asyncio.sleep(0)
    for done in range(5):
        await asyncio.to_thread(Server.made[0].progress, done, 10)
    await asyncio.sleep(0)
    assert len(heard) == 1
    Server.made[0].gate.set()
    await waiting
    await models.close()


async def test_a_server_that_nobody_asks_any_more_is_ended_and_started_again_when_it_is_needed() -> None:
    models = LocalModels(Settings(), idle=0.02)
    waiting = asyncio.ensure_future(models.endpoint("m", print))
    await asyncio.sleep(0.1)
    (server,) = Server.made
    assert not server.stopped.is_set(), "somebody waits for it, however long it takes"
    server.gate.set()
    await waiting
    async with asyncio.timeout(10):
        await server.stopped.wait()
    again = asyncio.ensure_future(models.endpoint("m", print))
    await asyncio.sleep(0)
    assert len(Server.made) == 2
    Server.made[1].gate.set()
    await again
    await models.close()


async def test_a_model_that_cannot_start_is_an_error_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Server, "failing", True)
    models = LocalModels(Settings())
    for _ in range(2):
        waiting = asyncio.ensure_future(models.endpoint("m", print))
        await asyncio.sleep(0)
        Server.made[0].gate.set()
        with pytest.raises(ModelUnavailable, match="the disk is full"):
            await waiting
    await models.close()


async def test_nothing_is_started_while_it_ends() -> None:
    models = LocalModels(Settings())
    await models.close()
    with pytest.raises(Unavailable):
        await models.endpoint("m", print)
    assert Server.made == []
