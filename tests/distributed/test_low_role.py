"""Servers and workers need no right to make tables: `po` reads and writes rows, the owner migrates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import body, task, wait_for_state
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration


async def test_a_node_works_with_a_role_that_may_only_write_rows(
    tmp_path: Path, place: str, server: PostgresServer, model: ModelServer
) -> None:
    role = f"low_{place.rpartition('=')[2]}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    low = place.replace("nobody@", f"{role}@")
    PostgresStore(place).close()  # `po store migrate`, by the owner
    for statement in PostgresStore.look(low)[1].grants:
        server.execute(statement)
    node = WorkerNode(tmp_path / "worker", low)
    try:
        async with api_node(tmp_path / "api", low) as api:
            await asyncio.to_thread(node.ready)
            asked = {"name": "ask", "prompt": "say something", "llm": {"model": "openai:any", "max_tokens": 9}}
            runs = [(await api.submissions.submit(body(t), owner="local"))[0].id for t in (task("code"), asked)]
            for run in runs:
                assert (await wait_for_state(api, run, patience=30)).state == "done", node.log()
            await api.workers.drain("worker")
            await api.maintenance.clean(older_than=0, owner=None)
        assert await asyncio.to_thread(node.stop) == 0
    finally:
        node.kill()
    with pytest.raises(Exception, match="permission denied"):
        with_tables = f'CREATE TABLE "{place.rpartition("=")[2]}".more (x integer)'
        import psycopg

        with psycopg.connect(server.database.replace("nobody@", f"{role}@")) as connection:
            connection.execute(with_tables)
