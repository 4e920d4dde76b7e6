"""Nodes that hear of runs through a broker: messages are hints, and the store knows what waits without them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.brokers import BrokerServer, RabbitServer, ValkeyServer, running
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import wait_for_state

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def broker() -> Iterator[BrokerServer]:
    with running(ValkeyServer) as broker:
        yield broker


def body(number: int) -> dict[str, object]:
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    tasks = [{"name": "t", "prompt": f"question {number}"}]
    return {"pipeline": {"name": "p", "llm": llm, "tasks": tasks}, "seed": {"name": "s", "data": {}}}


async def test_a_message_brings_a_run_to_a_node_and_the_store_does_without_it(
    tmp_path: Path, place: str, model: ModelServer, broker: BrokerServer
) -> None:
    worker = WorkerNode(tmp_path / "worker", place, PO_BROKER=broker.url)
    try:
        async with api_node(tmp_path / "api", place, broker=broker.url) as api:
            worker.ready()
            runs = [(await api.submissions.submit(body(i), owner="local"))[0].id for i in range(6)]
            for run in runs:
                assert (await wait_for_state(api, run, patience=30)).state == "done", worker.log()
            report = await api.workers.report()
            assert report["broker"] is not None
            assert report["broker"]["works"]
            assert sum((report["broker"]["depths"] or {}).values()) == 0

            broker.kill()  # what was published is lost, what is published now goes nowhere
            run = (await api.submissions.submit(body(6), owner="local"))[0].id
            assert (await wait_for_state(api, run, patience=40)).state == "done", worker.log()
            report = await api.workers.report()
            assert report["broker"] == {"works": False, "depths": None}

            await asyncio.to_thread(broker.start)
            async with asyncio.timeout(30):
                while not (await api.workers.report())["broker"]["works"]:  # type: ignore[index]
                    await asyncio.sleep(0.2)
            run = (await api.submissions.submit(body(7), owner="local"))[0].id
            assert (await wait_for_state(api, run, patience=40)).state == "done", worker.log()
            assert len(model.requests) == 8
            assert worker.stop() == 0
    finally:
        worker.kill()


@pytest.mark.parametrize("kind", [ValkeyServer, RabbitServer])
async def test_a_broker_that_is_silent_holds_up_no_run(
    tmp_path: Path, place: str, model: ModelServer, kind: type[BrokerServer]
) -> None:
    """Its connections stay up and nobody answers: what is submitted meanwhile is worked off, and each run once."""
    with running(kind) as silent:
        worker = WorkerNode(tmp_path / "worker", place, PO_BROKER=silent.url)
        try:
            async with api_node(tmp_path / "api", place, broker=silent.url) as api:
                worker.ready()
                first = (await api.submissions.submit(body(0), owner="local"))[0].id
                assert (await wait_for_state(api, first, patience=30)).state == "done", worker.log()
                silent.pause(True)
                try:
                    async with asyncio.timeout(10):  # who submits does not wait for it
                        runs = [
                            (await api.submissions.submit(body(i), owner="local"))[0].id for i in range(1, 6)
                        ]
                    for run in runs:
                        assert (await wait_for_state(api, run, patience=40)).state == "done", worker.log()
                    async with asyncio.timeout(30):
                        while (await api.workers.report())["broker"]["works"]:  # type: ignore[index]
                            await asyncio.sleep(0.2)
                finally:
                    silent.pause(False)
                async with asyncio.timeout(60):
                    while not (await api.workers.report())["broker"]["works"]:  # type: ignore[index]
                        await asyncio.sleep(0.2)
                last = (await api.submissions.submit(body(6), owner="local"))[0].id
                assert (await wait_for_state(api, last, patience=40)).state == "done", worker.log()
                assert len(model.requests) == 7
                assert worker.stop() == 0
        finally:
            worker.kill()
