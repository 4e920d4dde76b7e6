"""One PostgreSQL server for the tests of several machines; each test has a schema of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def place(server: PostgresServer) -> str:
    return server.url()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server
