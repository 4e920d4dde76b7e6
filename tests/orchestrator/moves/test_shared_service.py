"""The service of shared runs as who moves a run sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import Unavailable
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.moves.shared_service import SharedRunsService


def service(tmp_path: Path, **more: object) -> SharedRunsService:
    settings = Settings(data_dir=tmp_path, **more)
    return SharedRunsService(settings, KeyStore(tmp_path, settings.hub_url), asyncio.to_thread)


async def test_without_a_hub_or_a_token_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PO_HUB_URL", "PO_HUB_RUNS_URL", "PO_HUB_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="no service of shared runs"):
        await service(tmp_path).address()
    address = "http://127.0.0.1:9/services/po-runs"
    monkeypatch.setenv("PO_HUB_TOKEN", "secret")
    with pytest.raises(
        Unavailable, match="no token of the hub"
    ):  # the address is of a file: it may be anybody's
        await service(tmp_path, hub_runs_url=address).address()
    monkeypatch.setenv("PO_HUB_RUNS_URL", address)
    assert await service(tmp_path, hub_runs_url=address).address() == (address, "secret")


@pytest.mark.integration
async def test_a_service_that_is_away_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://127.0.0.1:9/services/po-runs"
    monkeypatch.setenv("PO_HUB_RUNS_URL", address)
    monkeypatch.setenv("PO_HUB_TOKEN", "secret")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await service(tmp_path, hub_runs_url=address).accept("0" * 64, "")
