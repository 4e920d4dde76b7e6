"""A node whose line to the database is cut, in a network namespace of its own: both sides notice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.distributed.test_dispatcher import holder_of, node_states, submitted
from tests.support.brokers import free_port
from tests.support.nodes import TTL, WorkerNode, api_node
from tests.support.orchestrator import wait_for_state
from tests.support.paths import ROOT
from tests.support.postgres import postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Island:
    """A namespace with one line to here."""

    def __init__(self) -> None:
        self.name = f"po{os.getpid()}"
        third = os.getpid() % 250
        self.here, self.there, self.net = f"10.213.{third}.1", f"10.213.{third}.2", f"10.213.{third}.0/30"
        self.inside = ("ip", "netns", "exec", self.name)

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", f"{self.name}h", "type", "veth", "peer", "name", f"{self.name}n", "netns", self.name)
        ip("addr", "add", f"{self.here}/30", "dev", f"{self.name}h")
        ip("link", "set", f"{self.name}h", "up")
        ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev", f"{self.name}n")
        for device in (f"{self.name}n", "lo"):
            ip("-n", self.name, "link", "set", device, "up")

    def cut(self) -> None:
        ip("link", "set", f"{self.name}h", "down")

    def mend(self) -> None:
        ip("link", "set", f"{self.name}h", "up")

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", f"{self.name}h"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


@pytest.fixture
def island() -> Iterator[Island]:
    if shutil.which("ip") is None:
        pytest.skip("platform: no `ip` for network namespaces")
    island = Island()
    try:
        try:
            island.make()
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"platform: network namespaces are not permitted here ({error})")
        yield island
    finally:
        island.close()


@contextmanager
def model_inside(island: Island, log: Path) -> Iterator[str]:
    """A model server there: only the line to the database is cut. The base URL."""
    process = subprocess.Popen(
        [*island.inside, sys.executable, "-m", "po_jupyter.testing.model_server", "--port", "0", "--latency", "0.3",
         "--log", str(log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def sent(log: Path) -> list[float]:
    """When each request came."""
    return [call["at"] for call in map(json.loads, log.read_text().splitlines()) if call["event"] == "request"]


async def test_a_node_that_is_cut_off_sends_no_more_calls_and_its_run_goes_on_elsewhere(
    tmp_path: Path, model: ModelServer, island: Island
) -> None:
    model.latency = 0.3
    with postgres_server() as server, model_inside(island, tmp_path / "calls.jsonl") as inside:
        server.stop()
        far = server.listen_at(island.here, free_port(), island.net) + "schema=cut"
        server.start()
        near = server.url("cut")
        cut_off = WorkerNode(tmp_path / "far", far, before=island.inside, OPENAI_BASE_URL=inside)
        heir: WorkerNode | None = None
        try:
            cut_off.ready()
            async with api_node(tmp_path / "api", near) as api:
                run = await submitted(api, 20)
                assert await holder_of(api, run) == "far"
                heir = WorkerNode(tmp_path / "near", near).ready()
                assert await holder_of(api, run) == "far"
                island.cut()
                cut_at, began = time.time(), time.monotonic()
                while await holder_of(api, run) != "near":
                    await asyncio.sleep(0.05)
                assert time.monotonic() - began < TTL + 2
                view = await wait_for_state(api, run, patience=60)
                assert view.state == "done", (view.error, heir.log())
                # An intent is in the store before its call is sent: at most one was on its way.
                late = [at for at in sent(tmp_path / "calls.jsonl") if at > cut_at + 0.1]
                assert len(late) <= 1
                assert len(model.requests) + len(sent(tmp_path / "calls.jsonl")) <= 21
                island.mend()
                async with asyncio.timeout(30):
                    while (await node_states(api)).get("far") != "works":
                        await asyncio.sleep(0.1)
                heir.kill()
                run = await submitted(api, 1)
                assert (await wait_for_state(api, run, patience=30)).state == "done", cut_off.log()
        finally:
            cut_off.kill()
            if heir is not None:
                heir.kill()
