"""An upgrade without a pause: nodes of two versions over one store, the older ones drained while runs go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import po_jupyter
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.store.postgres import schema
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import wait_for_state
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration

# What a later version has: another number, and tables of a format more.
NEWER = """
from po_jupyter.distributed import node
from po_jupyter.store.postgres import schema
node.version = lambda: "99.0"
schema._STEPS = (*schema._STEPS, (
    "CREATE TABLE IF NOT EXISTS {schema}.later (x integer)",
    f"UPDATE {{schema}}.format SET version = {schema.VERSION + 1}",
))
schema.VERSION += 1
"""


def pipeline(number: int) -> dict[str, Any]:
    """Five prompts after each other, about 1.5 s with the model of this test."""
    tasks = [
        {"name": f"t{i}", "prompt": f"run {number}, task {i}", "needs": [f"t{i - 1}"] if i else []}
        for i in range(5)
    ]
    llm = {"model": "openai:any", "max_tokens": 20}
    return {"pipeline": {"name": "p", "llm": llm, "tasks": tasks}, "seed": {"name": "s", "data": {}}}


async def versions_of(api: RunningOrchestrator) -> dict[str, str]:
    """The versions of the nodes, by name, as `po workers` shows them."""
    return {node["name"]: node["version"] for node in (await api.workers.report())["nodes"]}


async def test_nodes_of_two_versions_work_side_by_side_and_the_older_one_is_drained(
    tmp_path: Path, place: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(latency=0.3) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        old = WorkerNode(tmp_path / "old", place)
        new = None
        try:
            await asyncio.to_thread(old.ready)
            async with api_node(tmp_path / "api", place) as api:  # of the older version too
                runs = [(await api.submissions.submit(pipeline(i), owner="local"))[0].id for i in range(4)]
                async with asyncio.timeout(30):
                    while not model.requests:
                        await asyncio.sleep(0.02)
                new = await asyncio.to_thread(WorkerNode(tmp_path / "new", place, prelude=NEWER).ready)
                name = place.rpartition("schema=")[2]
                assert server.execute(f'SELECT version FROM "{name}".format') == [(schema.VERSION + 1,)]
                # The older one starts workers on: its tables are all there.
                runs += [(await api.submissions.submit(pipeline(4), owner="local"))[0].id]
                async with asyncio.timeout(10):
                    while "new" not in (versions := await versions_of(api)):
                        await asyncio.sleep(0.05)
                assert versions["new"] == "99.0"
                assert versions["old"] == versions["api"] == po_jupyter.__version__

                await api.workers.drain("old")
                for run in runs:
                    assert (await wait_for_state(api, run, patience=60)).state == "done", (old.log(), new.log())
                states = {node["name"]: node for node in (await api.workers.report())["nodes"]}
                assert (states["old"]["state"], states["old"]["running"]) == ("drains", 0)
                assert old.log().count("this node drains") == 1

                assert await asyncio.to_thread(old.stop) == 0
                run = (await api.submissions.submit(pipeline(5), owner="local"))[0].id
                assert (await wait_for_state(api, run, patience=60)).state == "done", new.log()
            assert len(model.requests) == 6 * 5, "nothing is asked twice: what was in flight was finished"
            assert await asyncio.to_thread(new.stop) == 0
        finally:
            old.kill()
            if new is not None:
                new.kill()
        # Once down it stays down: a start looks at the format.
        again = WorkerNode(tmp_path / "old", place)
        try:
            assert await asyncio.to_thread(again.process.wait, 60) not in (0, None)
        finally:
            again.kill()
