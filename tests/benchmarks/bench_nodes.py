"""Several machines: runs of ten prompts over 1, 2 and 4 worker nodes of one PostgreSQL, each with the same slots.

`PO_BENCH_RUNS=10000 python -m tests.benchmarks nodes` is the whole load test; without it there are 80 runs for each
number of nodes. The model server's log says whether a call was made twice.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.postgres import PostgresServer, postgres_server

RUNS = int(os.environ.get("PO_BENCH_RUNS", "80"))
TASKS, SLOTS, LATENCY = 10, 4, 0.2
AT_ONCE = 16  # submissions


def body(number: int) -> dict[str, Any]:
    tasks = [
        {
            "name": f"t{i}",
            "prompt": f"run {{{{ seed.number }}}}, task {i}",
            **({"needs": [f"t{i - 1}"]} if i else {}),
        }
        for i in range(TASKS)
    ]
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {
        "pipeline": {"name": "load", "llm": llm, "tasks": tasks},
        "seed": {"name": "s", "data": {"number": number}},
    }


async def submit_all(api: RunningOrchestrator, first: int) -> float:
    """The seconds that it takes to submit all."""
    numbers, started = iter(range(first, first + RUNS)), time.perf_counter()

    async def some() -> None:
        for number in numbers:
            await api.submissions.submit(body(number), owner=f"owner{number % 3}")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return time.perf_counter() - started


async def all_done(api: RunningOrchestrator) -> None:
    while heads := await asyncio.to_thread(api.store.active):
        await asyncio.sleep(min(1.0, 0.1 + len(heads) / 5000))


async def measure(server: PostgresServer, folder: Path, model: ModelServer, nodes: int) -> dict[str, float]:
    place = server.url()
    async with api_node(folder / "api", place) as api:
        submitting = await submit_all(api, nodes * 1_000_000)
        workers = [WorkerNode(folder / f"worker{i}", place, slots=SLOTS) for i in range(nodes)]
        try:
            for worker in workers:
                worker.ready()
            started = time.perf_counter()
            before = [psutil.Process(worker.process.pid).cpu_times() for worker in workers]
            await all_done(api)
            seconds = time.perf_counter() - started
            after = [psutil.Process(worker.process.pid).cpu_times() for worker in workers]
            node_cpu = sum(a.user + a.system - b.user - b.system for a, b in zip(after, before, strict=True))
            ended = await asyncio.to_thread(lambda: len(list(api.store.runs(limit=1000).heads)))
            assert ended == min(RUNS, 1000)
        finally:
            for worker in workers:
                worker.kill()
    return {"submit": submitting, "seconds": seconds, "node_cpu": node_cpu}


def main() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    found: dict[int, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="po-model-") as place,
        postgres_server() as server,
        ModelServer(latency=LATENCY, process=True, log=Path(place) / "calls.jsonl") as model,
    ):
        os.environ |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        for nodes in (1, 2, 4):
            with tempfile.TemporaryDirectory(prefix="po-nodes-") as folder:
                found[nodes] = asyncio.run(measure(server, Path(folder), model, nodes))
        requests, twice = len(model.requests), len(model.duplicates())
    note = f"{RUNS} runs x {TASKS} prompts of {LATENCY} s, {SLOTS} slots a node"
    for nodes, took in found.items():
        rate = RUNS / took["seconds"]
        ideal = RUNS * TASKS * LATENCY / (SLOTS * nodes)
        rows.append(
            {"name": f"runs a second, {nodes} node(s)", "value": rate, "unit": "/s", "aim": "", "note": note}
        )
        rows.append({
            "name": f"time over the ideal, {nodes} node(s)", "value": took["seconds"] / ideal, "unit": "x", "aim": "",
            "note": f"{took['seconds']:.1f} s",
        })  # fmt: skip
        rows.append({
            "name": f"CPU of the node itself, {nodes} node(s)", "value": 1000 * took["node_cpu"] / (RUNS * TASKS),
            "unit": "ms/task", "aim": "<= 5", "note": "without its workers",
        })  # fmt: skip
    speedup = found[1]["seconds"] / found[4]["seconds"]
    rows.append({"name": "speedup, 1 to 4 nodes", "value": speedup, "unit": "x", "aim": ">= 3.6", "note": ""})
    rows.append(
        {"name": "calls made twice", "value": float(twice), "unit": "", "aim": "<= 0", "note": f"of {requests}"}
    )
    submitting = 1000 * sum(took["submit"] for took in found.values()) / (3 * RUNS)
    rows.append(
        {"name": "a submission", "value": submitting, "unit": "ms", "aim": "", "note": f"{AT_ONCE} at once"}
    )
    return rows
