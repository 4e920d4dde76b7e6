"""What watches a node without Jupyter is told the truth: it lives, and its store can be used."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from po_jupyter.distributed import health as module
from po_jupyter.distributed.health import NodeHealth, answering
from po_jupyter.errors import StoreError, Unavailable
from po_jupyter.orchestrator.monitoring.service import ProbeReport
from tests.support.brokers import free_port
from tests.support.nodes import WorkerNode
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


async def ask(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/{path}")
        return answer.status_code, answer.json()


async def test_a_node_that_starts_lives_and_is_not_ready() -> None:
    health = NodeHealth()
    port = free_port()
    async with answering(health, port):
        assert await ask(port, "health") == (200, {"status": "ok"})
        assert (await ask(port, "ready"))[0] == 503


async def test_ready_says_what_the_probe_found_and_nothing_of_why() -> None:
    health = NodeHealth()

    async def fails() -> ProbeReport:
        raise StoreError("postgresql://po:hunter2@db.example is away")

    async def works() -> ProbeReport:
        return ProbeReport(True, False)

    port = free_port()
    async with answering(health, port):
        health.probe = fails
        status, answer = await ask(port, "ready")
        assert (status, answer) == (503, {"ready": False, "orchestrator": False, "broker": None})
        health.probe = works
        assert await ask(port, "ready") == (200, {"ready": True, "orchestrator": True, "broker": False})


async def test_a_store_that_hangs_is_not_ready_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    health, asked = NodeHealth(), 0

    async def hangs() -> ProbeReport:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    health.probe = hangs
    port = free_port()
    async with answering(health, port):
        answers = await asyncio.gather(*(ask(port, "ready") for _ in range(3)))
        assert [status for status, _ in answers] == [503] * 3
        assert (await ask(port, "health"))[0] == 200
    assert asked == 1


async def test_nothing_else_is_served() -> None:
    port = free_port()
    async with (
        answering(NodeHealth(), port),
        httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for path in ("", "po/api/v1/runs", "po/api/v1/health", "metrics"):
            assert (await client.get(f"/{path}")).status_code == 404
        assert (await client.post("/ready", content=b"x")).status_code == 405


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="nothing can listen on port"):
            async with answering(NodeHealth(), taken.getsockname()[1]):
                pass


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
