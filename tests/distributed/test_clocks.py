"""Nodes whose clocks are an hour apart, before and behind: nothing that they decide together is by the time of day."""

from __future__ import annotations

import asyncio
import glob
import time
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.distributed.test_dispatcher import holder_of, node_states, submitted
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import wait_for_state

pytestmark = [pytest.mark.integration, pytest.mark.slow]
TERM = 4.0  # s, of a node here


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose time of day is that far away."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        pytest.skip("libfaketime is not installed (Debian: libfaketime)")
    return {
        "PO_NODE_TTL": str(TERM),
        "LD_PRELOAD": found[0],
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def test_a_run_goes_from_an_hour_ahead_to_an_hour_behind(
    tmp_path: Path, place: str, model: ModelServer
) -> None:
    model.latency = 0.3
    nodes = {
        "ahead": WorkerNode(tmp_path / "ahead", place, **clock("+1h")),
        "behind": WorkerNode(tmp_path / "behind", place, **clock("-1h")),
    }
    try:
        for node in nodes.values():
            node.ready()
        async with api_node(tmp_path / "api", place, node_ttl=TERM) as api:
            run = await submitted(api, 30)
            victim = nodes.pop(await holder_of(api, run))
            ((heir, other),) = nodes.items()
            await asyncio.sleep(2.0)
            assert (await node_states(api)).keys() == {
                "api",
                "ahead",
                "behind",
            }  # nobody takes the other for gone
            assert await holder_of(api, run) == victim.name
            victim.kill()
            began = time.monotonic()
            while await holder_of(api, run) != heir:
                await asyncio.sleep(0.05)
            assert time.monotonic() - began < TERM + 2
            view = await wait_for_state(api, run, patience=60)
            assert view.state == "done", (view.error, other.log())
            assert model.paid_twice() == []
            assert len(model.requests) <= 31
            await api.control.cancel(await submitted(api, 3), None)
    finally:
        for node in [*nodes.values(), *({victim} if "victim" in locals() else ())]:
            node.kill()
