"""The vendor behind a gateway: one server of models for each module, empty at the beginning of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import KEY


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(key=KEY) as server:
        yield server


@pytest.fixture
def vendor(server: ModelServer) -> ModelServer:
    server.forget()
    return server
