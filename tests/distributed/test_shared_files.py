"""Files of runs and rows of seeds on several nodes with data directories of their own, over one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.row_uploads import write_rows
from po_jupyter.orchestrator.service import RunningOrchestrator
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import wait_for_state, wait_for_task_state
from tests.support.s3 import KEY, SECRET, S3Server, s3_server

pytestmark = pytest.mark.acceptance
SLOW = pytest.mark.slow

WRITE = """
import os
def integration(ctx):
    aws = {name for name in os.environ if name.startswith("AWS_")}
    assert aws <= {"AWS_REGION", "AWS_DEFAULT_REGION"}, "credentials"
    ctx.io.write_artifact("a/größe.txt", "from " + os.environ["PO_NODE_NAME"])
    for n in range(300):
        ctx.io.write_artifact(f"many/{n}", str(n))
"""
SLEEP = """
import time, os
def integration(ctx):
    if os.environ["PO_NODE_NAME"] == "one":
        time.sleep(600)
    read = ctx.io.read_artifact
    return [read("a/größe.txt", "text"), read("many/299", "text"), len(ctx.io.artifacts())]
"""
ROWS = """
def integration(ctx):
    ctx.io.write_artifact(f"row/{ctx.item['n']}", "x" * ctx.item["n"])
    return ctx.item["n"]
"""
AFTER = """
def integration(ctx):
    return sum(len(ctx.io.read_artifact(f"row/{n}", "bytes")) for n in range(20))
"""


def python(name: str, source: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": source, "retry": {"max_attempts": 1}, **more}


def body(*tasks: dict[str, Any], **seed: Any) -> dict[str, Any]:
    return {"pipeline": {"name": "test", "tasks": list(tasks)}, "seed": {"name": "s", "data": seed or {"x": 1}}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=[pytest.param("directory", marks=SLOW), "s3"])
def blobs(request: pytest.FixtureRequest, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What PO_BLOBS says."""
    if request.param == "directory":
        (tmp_path / "shared").mkdir()
        return str(tmp_path / "shared")
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket()}/po"


class Nodes:
    """Nodes of one store, of which this process serves only."""

    def __init__(self, tmp: Path, place: str, blobs: str) -> None:
        self._tmp, self._place, self._blobs = tmp, place, blobs
        self.nodes: list[WorkerNode] = []

    async def start(self, name: str, **env: str) -> WorkerNode:
        more = {"PO_BLOBS": self._blobs, "PO_NODE_NAME": name, "PO_WORKER_ENV": '["PO_NODE_NAME"]', **env}
        node = WorkerNode(self._tmp / name, self._place, **more)
        self.nodes.append(node)
        return await asyncio.to_thread(node.ready)


@asynccontextmanager
async def nodes(tmp: Path, place: str, blobs: str) -> AsyncIterator[tuple[RunningOrchestrator, Nodes]]:
    several = Nodes(tmp, place, blobs)
    async with api_node(tmp / "api", place, blobs=blobs) as service:
        try:
            yield service, several
        finally:
            for node in several.nodes:
                if node.process.poll() is None:
                    node.kill()


async def content(service: RunningOrchestrator, run: str, name: str) -> bytes:
    with await service.results.artifact(run, None, name) as file:
        return file.read()


@pytest.mark.timeout(110)
async def test_a_run_whose_node_died_reads_on_another_what_it_wrote_there(
    tmp_path: Path, place: str, blobs: str
) -> None:
    async with nodes(tmp_path, place, blobs) as (service, several):
        one = await several.start("one")
        rows = python("rows", ROWS, for_each="{{ seed.rows }}")
        tasks = python("write", WRITE), rows, python("sleep", SLEEP), python("after", AFTER)
        view, _ = await service.submissions.submit(
            body(*tasks, rows=[{"n": n} for n in range(20)]), owner="local"
        )
        await wait_for_task_state(service, view.id, "sleep", patience=60)
        one.kill()
        await several.start("two")
        view = await wait_for_state(service, view.id, patience=60)
        assert view.state == "done", view.error
        outputs = await service.results.outputs(view.id, None)
        assert outputs["sleep"] == ["from one", "299", 321]
        assert outputs["after"] == sum(range(20))
        # This node worked on none of it.
        assert await content(service, view.id, "a/größe.txt") == b"from one"
        assert await content(service, view.id, "row/7") == b"x" * 7
        types = [e["type"] for e in await service.runs.events(view.id, None)]
        assert types.count("task.done") == 4
        fork = await service.control.fork(view.id, None, "after")
        fork = await wait_for_state(service, fork.id, patience=60)
        assert fork.state == "done", fork.error
        await service.control.delete(view.id, None)
        assert await content(service, fork.id, "row/7") == b"x" * 7


@pytest.mark.timeout(110)
async def test_rows_are_uploaded_to_one_node_and_worked_off_on_another(
    tmp_path: Path, place: str, blobs: str
) -> None:
    file = write_rows([{"n": n} for n in range(3000)], inline=10)
    assert file is not None
    with file.file:
        file.file.seek(0)
        data = file.file.read()
    async with nodes(tmp_path, place, blobs) as (service, several):
        upload = await service.submissions.receive_rows(sha256(data).hexdigest(), "local")
        await upload.write(data)
        await upload.finish()
        await several.start("one")
        source = "def integration(ctx):\n    return sum(row['n'] for row in ctx.seed['rows'])\n"
        view, _ = await service.submissions.submit(
            body(python("sum", source), rows=file.ref.to_json()), owner="local"
        )
        view = await wait_for_state(service, view.id, patience=60)
        assert view.state == "done", view.error
        assert (await service.results.outputs(view.id, None))["sum"] == sum(range(3000))


@pytest.mark.timeout(110)
async def test_while_the_bucket_is_away_the_run_waits_says_so_and_goes_on(
    tmp_path: Path, place: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    blobs = f"s3://{s3.bucket()}/po"
    async with nodes(tmp_path, place, blobs) as (service, several):
        await several.start("one")
        source = f"import time\ntime.sleep(1)\n{WRITE}"
        view, _ = await service.submissions.submit(body(python("write", source)), owner="local")
        await wait_for_task_state(service, view.id, "write", patience=60)
        s3.stop()
        async with asyncio.timeout(60):
            while True:
                events = await service.runs.events(view.id, None)
                waits = [e["data"]["reason"] for e in events if e["type"] == "task.waiting"]
                if waits:
                    break
                await asyncio.sleep(0.1)
        assert f"{blobs} cannot be used" in waits[0] or "does not answer" in waits[0]
        assert (await service.runs.get(view.id, None)).state == "running"
        s3.start()
        view = await wait_for_state(service, view.id, patience=60)
        assert view.state == "done", view.error
        assert await content(service, view.id, "many/299") == b"299"
        everything = str([await service.runs.events(view.id, None), *(n.log() for n in several.nodes)])
        assert KEY not in everything and SECRET not in everything
