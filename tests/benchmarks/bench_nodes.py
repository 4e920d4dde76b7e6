"""Several machines: runs of ten prompts over 1, 2 and 4 worker nodes of one PostgreSQL, each with the same slots.

`PO_BENCH_RUNS=10000 python -m tests.benchmarks nodes` is the whole load test, 40 minutes; without it there are 300 runs
for each number of nodes. A node is bound by its slots: the model takes its time. The model server's log says whether a
call was made twice. What costs CPU is counted apart: nodes with their workers, the database, the model server.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.postgres import PostgresServer, postgres_server

RUNS = int(os.environ.get("PO_BENCH_RUNS", "300"))
TASKS, SLOTS, LATENCY = 10, 40, 0.5
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


def cpu_of(*leaders: psutil.Process) -> float:
    """Seconds of CPU of these processes and all below them, with what has ended there."""
    total = 0.0
    for leader in leaders:
        for process in [leader, *leader.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


async def measure(server: PostgresServer, folder: Path, model: ModelServer, nodes: int) -> dict[str, float]:
    place = server.url()
    assert model._child is not None
    async with api_node(folder / "api", place, node_ttl=5.0) as api:
        submitting = await submit_all(api, nodes * 1_000_000)
        workers = [
            WorkerNode(
                folder / f"worker{i}",
                place,
                slots=SLOTS,
                PO_SHARED_WORKER="true",
                PO_MAX_SHARED_RUNNING=str(SLOTS),  # runs of prompts have room of their own
                PO_NODE_TTL="5",
                PO_HEARTBEAT="1",
            )
            for i in range(nodes)
        ]
        try:
            for worker in workers:
                worker.ready()
            parts = {
                "nodes": [psutil.Process(worker.process.pid) for worker in workers],
                "database": [psutil.Process(server.pid)],
                "model": [psutil.Process(model._child.pid)],
                "here": [psutil.Process()],
            }
            before = {part: cpu_of(*of) for part, of in parts.items() if part != "here"}
            mine = time.process_time()
            started = time.perf_counter()
            await all_done(api)
            seconds = time.perf_counter() - started
            cpu = {part: cpu_of(*parts[part]) - used for part, used in before.items()}
            cpu["here"] = time.process_time() - mine
            ended = await asyncio.to_thread(lambda: len(list(api.store.runs(limit=1000).heads)))
            assert ended == min(RUNS, 1000)
        finally:
            for worker in workers:
                worker.kill()
    return {"submit": submitting, "seconds": seconds, **cpu}


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
    assert requests >= 3 * RUNS * TASKS, requests
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
        for part, aim in (("nodes", "<= 5"), ("database", ""), ("model", ""), ("here", "")):
            rows.append({
                "name": f"CPU, {part}, {nodes} node(s)", "value": 1000 * took[part] / (RUNS * TASKS),
                "unit": "ms/task", "aim": aim, "note": "with their workers" if part == "nodes" else "",
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
