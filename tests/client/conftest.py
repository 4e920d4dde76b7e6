"""A Jupyter server for the tests of this room, and an environment in which no orchestrator can be found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from tests.support.jupyter_process import JupyterProcess
from tests.support.start_mode import forget_environment


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    """One server for this folder's tests, with the orchestrator in memory."""
    process = JupyterProcess(tmp_path_factory.mktemp("jupyter"))
    yield process
    process.stop()


@pytest.fixture
def client(jupyter: JupyterProcess) -> Iterator[Client]:
    client = Client(Endpoint(jupyter.url, jupyter.token))
    yield client
    client.close()


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with nothing to find, whose data directory is this test's."""
    forget_environment(monkeypatch, "PO_", "JUPYTER", "JPY_")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return dict(os.environ)
