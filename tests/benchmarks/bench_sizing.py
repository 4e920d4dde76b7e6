"""What a deployment needs: memory of each process, room in PostgreSQL, calls a second of a core.

One worker node over a PostgreSQL of its own; the model answers at once, from this process. About a minute.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.postgres import PostgresServer, postgres_server

RUNS = int(os.environ.get("PO_BENCH_RUNS", "200"))
OWN = 4  # runs with Python at once
TEXT = "lorem ipsum " * 40
SLEEP = "import time\ndef ingestion(ctx):\n    time.sleep(6)\n"


def prompts(number: int) -> dict[str, Any]:
    """A run of ten prompts, each with half a kilobyte of text of its own."""
    tasks = [
        {"name": f"t{i}", "prompt": f"{number}, {i}: {TEXT}", "needs": [f"t{i - 1}"] if i else []}
        for i in range(10)
    ]
    return {"pipeline": {"name": "size", "llm": LLM, "tasks": tasks}, "seed": {"name": "s", "data": {}}}


def rows(count: int) -> dict[str, Any]:
    """A map."""
    task = {
        "name": "label",
        "for_each": "{{ seed.rows }}",
        "prompt": "Label: {{ item }}",
        "max_concurrency": 20,
    }
    data = {"rows": [f"{i}: {TEXT}" for i in range(count)]}
    return {"pipeline": {"name": "map", "llm": LLM, "tasks": [task]}, "seed": {"name": "s", "data": data}}


def sleeper(number: int) -> dict[str, Any]:
    """A run with Python, and so a process, of its own."""
    tasks = [{"name": "sleep", "source": SLEEP, "config": {"number": number}}]
    return {"pipeline": {"name": "sleep", "tasks": tasks}, "seed": {"name": "s", "data": {}}}


LLM = {"model": "openai:gpt-4o-mini", "max_tokens": 50}


def megabytes(processes: Sequence[psutil.Process]) -> float:
    """Their memory together; what several share is counted once (PSS)."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def all_done(api: RunningOrchestrator) -> None:
    while await asyncio.to_thread(api.store.active):
        await asyncio.sleep(0.1)


def used(server: PostgresServer, place: str) -> int:
    """Bytes of the tables and indexes of a store."""
    schema = place.rpartition("schema=")[2]
    ((size,),) = server.execute(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relkind = 'r'", schema,
    )  # fmt: skip
    return int(str(size))


@contextmanager
def background_server(folder: Path, **environ: str) -> Any:
    """The pid of a `po start`."""
    variables = {**os.environ, "PO_DATA_DIR": str(folder), **environ}
    po = [sys.executable, "-m", "po_jupyter"]
    started = subprocess.run([*po, "start"], env=variables, check=True, capture_output=True, text=True).stdout
    try:
        yield int(started.partition("process")[2].split()[0])
    finally:
        subprocess.run([*po, "stop"], env=variables, check=True, capture_output=True)


class Sizes:
    """Rows of the report."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, name: str, value: float, unit: str, note: str = "") -> None:
        self.rows.append(
            {"name": f"sizing: {name}", "value": round(value, 1), "unit": unit, "aim": "", "note": note}
        )


async def measure(folder: Path, server: PostgresServer, sizes: Sizes) -> None:
    place = server.url()
    with background_server(folder / "server", PO_STORE=place, PO_NODE_WORKS="false") as pid:
        sizes.add("server without Jupyter's pages (po start)", megabytes([psutil.Process(pid)]), "MB")
    async with api_node(folder / "api", place) as api:
        worker = WorkerNode(folder / "worker", place, slots=16, PO_SHARED_WORKER="true")
        try:
            await asyncio.to_thread(worker.ready)
            await api.submissions.submit(prompts(-1), owner="local")
            await all_done(api)
            await measure_node(api, worker, sizes, server)
            await measure_calls(api, worker, sizes, lambda: used(server, place))
        finally:
            worker.kill()


async def measure_node(
    api: RunningOrchestrator, worker: WorkerNode, sizes: Sizes, server: PostgresServer
) -> None:
    node = psutil.Process(worker.process.pid)
    sizes.add("node (po worker)", megabytes([node]), "MB")
    for number in range(OWN):
        await api.submissions.submit(sleeper(number), owner="local")
    async with asyncio.timeout(60):
        while sum(head["holder"] is not None for head in await asyncio.to_thread(api.store.active)) < OWN:
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    zygotes = [child for child in node.children() if child.children()]
    pids = {head["holder"]["pid"] for head in await asyncio.to_thread(api.store.active) if head["holder"]}
    sizes.add(
        "zygote", megabytes(zygotes) / max(1, len(zygotes)), "MB", f"{len(zygotes)} of them, one an interpreter"
    )
    own = [psutil.Process(pid) for pid in pids]
    sizes.add(
        "worker of a run with Python", megabytes(own) / max(1, len(own)), "MB", "without what your code needs"
    )
    shared = [c for z in zygotes for c in z.children() if c.pid not in pids]
    ((open_now,),) = server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )
    note = (
        f"this process's among them, a node that serves and a worker node with {OWN} runs with Python at work"
    )
    sizes.add("connections to PostgreSQL", int(str(open_now)) - 1, "", note)
    sizes.add("shared worker, idle", megabytes(shared), "MB", f"{len(shared)} process")
    await all_done(api)


async def measure_calls(api: RunningOrchestrator, worker: WorkerNode, sizes: Sizes, size: Any) -> None:
    family, before, began = worker.tree(), size(), time.perf_counter()
    spent = cpu(family)
    for number in range(RUNS):
        await api.submissions.submit(prompts(number), owner="local")
    await all_done(api)
    seconds, spent = time.perf_counter() - began, cpu(worker.tree()) - spent
    note = f"{RUNS} runs of ten prompts in {seconds:.0f} s, {spent / RUNS * 1000:.0f} ms a run"
    sizes.add("calls, short runs", RUNS * 10 / spent, "calls/s of a core", note)
    sizes.add("PostgreSQL, 1,000 runs of ten prompts", (size() - before) / RUNS * 1000 / 1e6, "MB")
    peak = max(worker.tree(), key=lambda process: process.memory_info().rss)
    sizes.add("largest process after that", megabytes([peak]), "MB")
    spent, before = cpu(worker.tree()), size()
    await api.submissions.submit(rows(RUNS * 10), owner="local")
    await all_done(api)
    sizes.add("PostgreSQL, 1,000 rows of a map", (size() - before) / RUNS * 100 / 1e6, "MB")


def main() -> list[dict[str, Any]]:
    sizes = Sizes()
    with (
        tempfile.TemporaryDirectory(prefix="po-bench-") as folder,
        postgres_server() as server,
        ModelServer() as model,
    ):
        os.environ |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        asyncio.run(measure(Path(folder), server, sizes))
    return sizes.rows
