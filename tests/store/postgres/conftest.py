"""One PostgreSQL server for the tests of this folder; each test has a schema of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def place(server: PostgresServer) -> str:
    return server.url()
