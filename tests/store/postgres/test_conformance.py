"""The store in PostgreSQL goes through the published suite, with a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.conformance.store import StoreConformance
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration


class TestPostgresStore(StoreConformance):
    opener = "from po_jupyter.store.postgres.store import PostgresStore; store = PostgresStore({path!r})"

    @pytest.fixture
    def place(self, server: PostgresServer) -> str:
        return server.url()

    @pytest.fixture
    def store(self, place: str) -> Iterator[PostgresStore]:
        store = PostgresStore(place)
        yield store
        store.close()
