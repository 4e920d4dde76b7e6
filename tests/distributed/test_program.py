"""The program of `po worker`: what it needs, what answers while it works, and how it ends."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import httpx
import pytest

from po_jupyter.config import Settings
from po_jupyter.distributed import program
from po_jupyter.errors import InvalidSettings
from tests.support.brokers import free_port
from tests.support.nodes import WorkerNode
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


def test_a_node_needs_the_store_that_it_shares(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="needs the store that it shares"):
        program.serve(Settings(data_dir=tmp_path), lambda settings: None)


async def ask(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/{path}")
        return answer.status_code, answer.json()


async def test_a_node_answers_probes_and_stops_being_ready_with_its_database(tmp_path: Path) -> None:
    with postgres_server() as own:
        await _probe_node(tmp_path, own)


async def _probe_node(tmp_path: Path, database: PostgresServer) -> None:
    port = free_port()
    node = WorkerNode(tmp_path / "worker", database.url(), PO_HEALTH_PORT=str(port))
    try:
        await asyncio.to_thread(node.ready)
        status, answer = await ask(port, "ready")
        assert (status, answer["ready"], answer["orchestrator"]) == (200, True, True), node.log()
        database.kill()
        assert (await ask(port, "ready"))[0] == 503
        assert (await ask(port, "health"))[0] == 200, "it lives, and goes on when the database is back"
        await asyncio.to_thread(database.start)
        async with asyncio.timeout(30):
            while (await ask(port, "ready"))[0] != 200:
                await asyncio.sleep(0.1)
        assert await asyncio.to_thread(node.stop) == 0
    except subprocess.TimeoutExpired:
        raise AssertionError(node.log()) from None
    finally:
        node.kill()
