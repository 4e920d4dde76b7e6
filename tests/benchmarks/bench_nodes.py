"""Several machines: runs of ten prompts over 1, 2 and 4 worker nodes of one PostgreSQL, each with the same slots.

`PO_BENCH_RUNS=10000 python -m tests.benchmarks nodes` is the whole load test; `PO_BENCH_NODES=4` is its part over four
nodes alone. Without them there are 160 runs for each number of nodes. PO_BENCH_LATENCY=0 leaves the slow model out.

The speedup is that of slots, which are the scarce thing while a model takes its time (PO_BENCH_LATENCY, a second): four
nodes have four times as many. All nodes share the processors of this machine, so a model that answers at once shows
another thing, what a task costs, and how many go through the machine. The model server's log says whether a call was
made twice, which is how a run that two workers executed would show. CPU is counted apart: nodes with their workers, the
database, the model server.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.postgres import PostgresServer, postgres_server

RUNS = int(os.environ.get("PO_BENCH_RUNS", "160"))
NODES = tuple(int(n) for n in os.environ.get("PO_BENCH_NODES", "1,2,4").split(","))
LATENCY = float(os.environ.get("PO_BENCH_LATENCY", "1.0"))
TASKS, SLOTS = 10, 20
AT_ONCE = 16  # submissions
WARM_RUNS, WARM_FIRST = 4, 900_000_000  # runs for each node before those that count; the number of the first
MOST_SECONDS = max(1200.0, 0.3 * RUNS)  # for one number of nodes: a load test that hangs ends by itself


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


async def submit_all(api: RunningOrchestrator, first: int, runs: int = RUNS) -> float:
    """The seconds that it takes to submit all."""
    numbers, started = iter(range(first, first + runs)), time.perf_counter()

    async def some() -> None:
        for number in numbers:
            await api.submissions.submit(body(number), owner=f"owner{number % 3}")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return time.perf_counter() - started


async def all_done(server: PostgresServer, place: str) -> None:
    """Once no run is left. They are counted by the index of those that go on: their heads, each second, would be the
    most that the database does."""
    schema = place.rpartition("schema=")[2]
    count = f"SELECT count(*) FROM {schema}.heads WHERE state IN ('pending', 'running', 'waiting')"
    async with asyncio.timeout(MOST_SECONDS):
        with psycopg.connect(server.database, autocommit=True) as connection:
            while left := await asyncio.to_thread(lambda: connection.execute(count).fetchone()[0]):
                await asyncio.sleep(min(1.0, 0.1 + left / 1000))


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
            # What starts with a node's first run (its zygote, its shared worker) is no cost of a task.
            await submit_all(api, WARM_FIRST + 1000 * nodes, WARM_RUNS * nodes)
            await all_done(server, place)
            parts = {
                "nodes": [psutil.Process(worker.process.pid) for worker in workers],
                "database": [psutil.Process(server.pid)],
                "model": [psutil.Process(model._child.pid)],
                "here": [psutil.Process()],
            }
            before = {part: cpu_of(*of) for part, of in parts.items() if part != "here"}
            mine = time.process_time()
            started = time.perf_counter()
            submitting = await submit_all(
                api, nodes * 1_000_000
            )  # once all nodes are there: none begins before
            await all_done(server, place)
            seconds = time.perf_counter() - started
            cpu = {part: cpu_of(*parts[part]) - used for part, used in before.items()}
            cpu["here"] = time.process_time() - mine
            ended = await asyncio.to_thread(lambda: len(list(api.store.runs(limit=1000).heads)))
            assert ended == min(RUNS + WARM_RUNS * nodes, 1000)
        finally:
            for worker in workers:
                worker.kill()
    return {"submit": submitting, "seconds": seconds, **cpu}


def bodies(log: Path) -> Counter[str]:
    """How often each body came to the model: line by line, for a hundred thousand requests at once are a gigabyte."""
    with log.open() as lines:
        return Counter(line["hash"] for line in map(json.loads, lines) if line["event"] == "request")


def load(
    server: PostgresServer, latency: float, counts: tuple[int, ...]
) -> tuple[dict[int, dict[str, float]], int, int]:
    """What each number of nodes took, how many calls the model got, and how many of them twice."""
    found: dict[int, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="po-model-") as place,
        ModelServer(latency=latency, process=True, log=Path(place) / "calls.jsonl") as model,
    ):
        os.environ |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key}
        for nodes in counts:
            with tempfile.TemporaryDirectory(prefix="po-nodes-") as folder:
                found[nodes] = asyncio.run(measure(server, Path(folder), model, nodes))
        counts_of_bodies = bodies(Path(place) / "calls.jsonl")
    requests, twice = counts_of_bodies.total(), sum(n > 1 for n in counts_of_bodies.values())
    assert requests >= len(counts) * RUNS * TASKS, requests
    return found, requests, twice


def row(name: str, value: float, unit: str, aim: str = "", note: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "aim": aim, "note": note}


def costs(found: dict[int, dict[str, float]], model: str, aim: str) -> list[dict[str, Any]]:
    """Rates and CPU of each number of nodes."""
    rows = []
    for nodes, took in found.items():
        about = f"{nodes} node(s), {model}"
        rows.append(
            row(f"runs a second, {about}", RUNS / took["seconds"], "/s", "", f"{took['seconds']:.1f} s")
        )
        for part in ("nodes", "database", "model", "here"):
            is_nodes = part == "nodes"
            each = 1000 * took[part] / (RUNS * TASKS)
            note = "with their workers" if is_nodes else ""
            rows.append(row(f"CPU, {part}, {about}", each, "ms/task", aim if is_nodes else "", note))
    return rows


def main() -> list[dict[str, Any]]:
    with postgres_server() as server:
        found, requests, twice = load(server, LATENCY, NODES) if LATENCY else ({}, 0, 0)
        least, most = min(NODES), max(NODES)
        instant, more, again = load(server, 0.0, tuple(sorted({least, most})))
    rows = costs(found, "slow model", "") + costs(instant, "instant model", "<= 5")
    for nodes, took in found.items():
        ideal = RUNS * TASKS * LATENCY / (SLOTS * nodes)
        rows.append(row(f"time over the ideal, {nodes} node(s), slow model", took["seconds"] / ideal, "x"))
    if most > least and found:
        aim = ">= 3.6" if (least, most) == (1, 4) else ""
        note = f"{RUNS} runs x {TASKS} prompts of {LATENCY:g} s, {SLOTS} slots a node: slots are scarce"
        speedup = found[least]["seconds"] / found[most]["seconds"]
        rows.append(row(f"speedup, {least} to {most} nodes, slow model", speedup, "x", aim, note))
    if most > least:
        speedup = instant[least]["seconds"] / instant[most]["seconds"]
        note = f"{os.cpu_count()} processors for all nodes are scarce"
        rows.append(row(f"speedup, {least} to {most} nodes, instant model", speedup, "x", "", note))
    rows.append(row("calls made twice", float(twice + again), "", "<= 0", f"of {requests + more}"))
    submitting = statistics.mean(took["submit"] for took in (found or instant).values()) * 1000 / RUNS
    rows.append(row("a submission", submitting, "ms", "", f"{AT_ONCE} at once"))
    return rows
