"""The store in PostgreSQL: appends alone and in groups, notifications; lists among 100,000 runs, there and on disk.

The server is the tests' own, with `fsync` and `synchronous_commit` on: what it answers is on the disk.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from queue import Queue
from statistics import quantiles
from typing import Any

from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event, new_run
from tests.benchmarks import many_runs
from tests.support.postgres import postgres_server

APPENDS, NOTES = 1500, 500
OUTPUT = {"text": "y" * 1000}


def row(name: str, value: float, unit: str, aim: str = "", note: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "aim": aim, "note": note}


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in ms."""
    cuts = quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def appends(store: PostgresStore) -> list[float]:
    store.create_run(new_run("00a1"))
    lease = store.claim("00a1", processes.myself())
    seconds = []
    for _ in range(APPENDS):
        commit = Commit(events=[event("task.done") for _ in range(8)], payloads=[OUTPUT])
        began = time.perf_counter()
        store.commit(lease, commit)
        seconds.append(time.perf_counter() - began)
    return seconds[100:]


async def in_groups(store: PostgresStore, size: int, total: int = 8000) -> float:
    run = f"00b{size}"
    store.create_run(new_run(run))
    lease = store.claim(run, processes.myself())
    async with GroupCommitter(store, lease) as group:
        slots = asyncio.Semaphore(size)

        async def append(number: int) -> None:
            async with slots:
                await group.commit(Commit(events=[event("x")], payloads=[{"n": number, **OUTPUT}]))

        began = time.perf_counter()
        await asyncio.gather(*map(append, range(total)))
        return total / (time.perf_counter() - began)


def notifications(store: PostgresStore, other: PostgresStore) -> list[float]:
    heard: Queue[float] = Queue()
    other.listen(lambda run: heard.put(time.perf_counter()))
    heard.get(timeout=10)
    seconds = []
    for _ in range(NOTES):
        store.request("00a1", [event("x")])
        sent = time.perf_counter()
        seconds.append(max(0.0, heard.get(timeout=10) - sent))
    return seconds


def main() -> list[dict[str, Any]]:
    rows = []
    with postgres_server(durable=True) as server:
        url = server.url()
        store, other = PostgresStore(url), PostgresStore(url)
        p50, p99 = percentiles(appends(store))
        rows.append(row("append, p50", p50, "ms", "<= 1", "8 events, 1 KB output, synchronous_commit=on"))
        rows.append(row("append, p99", p99, "ms"))
        for size in (16, 100, 400):
            rate = asyncio.run(in_groups(store, size, 50 * size if size < 100 else 8000))
            rows.append(row(f"appends in groups of {size}", rate, "1/s", ">= 5000" if size == 100 else ""))
        p50, p99 = percentiles(notifications(store, other))
        rows.append(row("notification behind its commit, p50", p50, "ms"))
        rows.append(row("notification behind its commit, p99", p99, "ms", "<= 5"))
        many_runs.fill(store)
        server.execute(f'ANALYZE "{url.rpartition("schema=")[2]}".heads')
        rows += lists(store, "in PostgreSQL", "<= 5")
        rows.append(row("runs that have not ended", many_runs.timed(store.active), "ms"))
        store.close()
        other.close()
    with tempfile.TemporaryDirectory() as folder:
        disk = DiskStore(Path(folder) / "store")
        many_runs.fill(disk)
        disk.runs(owner="nobody")  # makes the index, once for ever
        rows += lists(disk, "on disk", "<= 20")
        disk.close()
    return rows


def lists(store: KeyedStore, where: str, aim: str) -> list[dict[str, Any]]:
    slowest, name, _ = many_runs.lists(store)
    nobody = many_runs.timed(partial(store.runs, owner="nobody", limit=50))
    return [
        row(f"a list of 50 among 100,000 runs, {where}", slowest, "ms", aim, f"the slowest filter: {name}"),
        row(f"the list of an owner without runs, {where}", nobody, "ms", aim),
    ]
