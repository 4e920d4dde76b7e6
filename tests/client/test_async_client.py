"""The async client: streams that survive, servers that do not answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.client.client import Client
from po_jupyter.errors import (
    Unavailable,
)
from tests.support.jupyter_process import JupyterProcess, definition

pytestmark = pytest.mark.integration


@pytest.fixture
def client(jupyter: JupyterProcess) -> Iterator[Client]:
    client = Client(Endpoint(jupyter.url, jupyter.token))
    yield client
    client.close()


async def test_a_stream_survives_a_restart_of_the_server(tmp_path: object, jupyter: JupyterProcess) -> None:
    """P8: it is opened again where it was lost, also at another address."""
    gone = Endpoint("http://127.0.0.1:9/", jupyter.token)
    here = Endpoint(jupyter.url, jupyter.token)
    async with AsyncClient(gone, relocate=lambda: here) as client:
        run = await client.submit({"pipeline": definition(steps=5), "seed": {"name": "a", "data": {}}})
        events = [message async for message in client.events(run.id)]
        assert [m.id for m in events if m.id] == list(range(1, 9))
        assert client.endpoint is here


async def test_a_lost_server_is_given_up_after_a_while() -> None:
    """A follower does not hang for ever."""
    async with AsyncClient(Endpoint("http://127.0.0.1:9/"), timeout=0.3) as client:
        with pytest.raises(Unavailable):
            await anext(client.events("abcd"))
