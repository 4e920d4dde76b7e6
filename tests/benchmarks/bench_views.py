"""How fast a panel opens: a list of runs and a long run that nobody has looked at yet, and a page of many rows."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.examination.operations import examine_here
from po_jupyter.orchestrator.views.inspection.service import RunInspection
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.server.sse.streams import run_json
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit, NewRun
from tests.support.orchestrator import Anyone

RUNS, EVENTS, ROWS = 1600, 50_000, 100_000
TASKS = ["prepare", "label", "report"]
USAGE = {"input_tokens": 100, "output_tokens": 10, "cost": 0.001, "calls": 1}


class Nobody:
    """No run waits for anything."""

    def position(self, run: str) -> int | None:
        return None

    def waiting_reason(self, run: str) -> str | None:
        return None


class Cold:
    """The views of a store that was opened just now."""

    def __init__(self, data_dir: Path) -> None:
        self.store = DiskStore(data_dir / "store", shards=4)
        settings = Settings(data_dir=data_dir)
        self.projections = RunProjections(self.store)
        self.runs = RunQueries(self.store, self.projections, Nobody(), asyncio.to_thread)
        self.inspection = RunInspection(
            settings, self.store, self.projections, self.runs,
            examine=partial(examine_here, settings=settings), inspecting=Anyone(), rendering=Anyone(),
        )  # fmt: skip


def create(store: DiskStore, number: int, data: dict[str, Any] | None = None) -> str:
    run = f"{number:022x}"
    created = draft(
        "run.created", name=f"seed {number}", pipeline="tickets", version="1.0.0", owner="me",
        tasks=[{"name": name, "kind": "prompt"} for name in TASKS],
    )  # fmt: skip
    tasks = [{"name": name, "prompt": "x", "for_each": "{{ seed.rows }}"} for name in TASKS]
    definition = {
        "pipeline": {"name": "tickets", "tasks": tasks},
        "seed": {"name": "s", "data": data or {"text": "Which tickets are urgent? " * 20}},
    }
    store.create_run(NewRun(run, "me", "tickets", "1.0.0", f"seed {number}", 0, definition, [created]))
    return run


def end(store: DiskStore, run: str) -> None:
    """Three tasks with their stages and calls, in the commits that a worker makes of them."""
    lease = store.claim(run, {"pid": 1})
    for name in TASKS:
        begun = [draft("task.started", name, attempt=1)]
        begun += [
            draft("task.stage", name, stage=stage, round=0) for stage in ("prompt_templating", "inference")
        ]
        store.commit(lease, Commit(begun, state="running"))
        used = draft("call.done", name, usage=USAGE, model="m", seconds=1.0, stage="inference", cached=False)
        store.commit(
            lease, Commit([used, draft("task.done", name, output=0, seconds=1.0)], payloads=["answer"])
        )
    store.commit(lease, Commit([draft("run.done")], state="done", release=True))


def long_run(store: DiskStore, number: int) -> str:
    """A run with many events, still at work."""
    run = create(store, number)
    lease = store.claim(run, {"pid": 1})
    store.commit(
        lease, Commit([draft("run.started"), draft("map.started", "label", total=EVENTS)], state="running")
    )
    for start in range(0, EVENTS, 20):
        events = [
            draft("map.progress", "label", done=start + i, failed=0, in_flight=5, usage=USAGE)
            for i in range(20)
        ]
        store.commit(lease, Commit(events))
    return run


def large_map(store: DiskStore, number: int) -> str:
    """A map of many rows, with the calls that answered them."""
    run = create(store, number, {"rows": [{"text": f"ticket {i}"} for i in range(ROWS)]})
    lease = store.claim(run, {"pid": 1})
    store.commit(lease, Commit([draft("map.started", "label", total=ROWS, of="rows")], state="running"))
    for start in range(0, ROWS, 50):
        items: list[Any] = []
        calls: list[Any] = []
        for i in range(50):
            key = f"label/{start + i}/100/0/inference/{start + i:032x}/0"
            response = {"usage": USAGE, "model": "m-2026", "finish": "stop", "seconds": 1.0}
            calls.append({"key": key, "kind": "intent", "model": "openai:m", "stage": "inference"})
            calls.append({"key": key, "kind": "response", "ok": True, "response": response, "answer": i})
            items.append(
                {"task": "label", "index": start + i, "ok": True, "key": "k", "usage": USAGE, "output": i}
            )
        store.commit(lease, Commit([], items, calls, [f"answer {start + i}" for i in range(50)]))
    return run


async def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds by the clock, and of the processor."""
    before = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - before[0]) * 1000, (time.process_time() - before[1]) * 1000


async def everything(runs: RunQueries, owner: str = "me", size: int = 200) -> bytes:
    """All runs, page by page, as the panel gets them."""
    cursor, sent = None, b""
    while True:
        views, cursor = await runs.page(owner, cursor=cursor, limit=size)
        sent += json.dumps([run_json(view) for view in views]).encode()
        if cursor is None:
            return sent


async def measure(data_dir: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def row(name: str, value: tuple[float, float], unit: str, aim: str, note: str = "") -> None:
        note = f"{value[1]:.0f} ms of CPU" + (f"; {note}" if note else "")
        rows.append({"name": name, "value": round(value[0], 2), "unit": unit, "aim": aim, "note": note})

    store = DiskStore(data_dir / "store", shards=4)
    for number in range(RUNS):
        end(store, create(store, number))
    store.close()

    cold = Cold(data_dir)
    row(
        "first list of an older store",
        await timed(partial(everything, cold.runs)),
        "ms",
        "",
        f"{RUNS} runs, nothing kept yet",
    )
    cold.store.close()
    cold = Cold(data_dir)
    row("list of 1,600 runs, cold", await timed(partial(everything, cold.runs)), "ms", "<= 300")
    row("list of 1,600 runs, again", await timed(partial(everything, cold.runs)), "ms", "<= 300")
    row("list of somebody without runs", await timed(partial(everything, cold.runs, "nobody")), "ms", "<= 50")
    row("what needs a person", await timed(partial(cold.runs.attention, "me")), "ms", "<= 50")
    row("a search among 1,600", await timed(partial(cold.runs.page, "me", q="seed 7")), "ms", "<= 100")

    many = long_run(cold.store, RUNS)
    cold.store.close()
    cold = Cold(data_dir)
    row(
        "first look at 50,000 events",
        await timed(partial(cold.runs.get, many, "me")),
        "ms",
        "",
        "nothing kept yet",
    )
    cold.store.close()
    cold = Cold(data_dir)
    row("run of 50,000 events, cold", await timed(partial(cold.runs.get, many, "me")), "ms", "<= 500")

    large = large_map(cold.store, RUNS + 1)
    cold.store.close()
    cold = Cold(data_dir)
    page = partial(cold.inspection.rows, large, "me", "label")
    row("first page of 100,000 rows, cold", await timed(page), "ms", "<= 5000")
    row("a page of 100,000 rows", await timed(partial(page, start=50_000)), "ms", "<= 100")
    row("sorted by cost", await timed(partial(page, sort="cost_usd", desc=True)), "ms", "<= 500")
    row("sorted by output", await timed(partial(page, sort="output")), "ms", "<= 3000")
    row("a search in 100,000 rows", await timed(partial(page, q="answer 99999")), "ms", "<= 5000")
    row(
        "a page of 100,000 calls",
        await timed(partial(cold.inspection.calls, large, "me", start=90_000)),
        "ms",
        "<= 200",
    )
    cold.store.close()
    return rows


def main() -> list[dict[str, Any]]:
    """The rows of `python -m tests.benchmarks views`."""
    with tempfile.TemporaryDirectory(prefix="po-bench-") as folder:
        return asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    for found in main():
        print(f"{found['name']:36} {found['value']:10} {found['unit']:8} {found['aim']:8} {found['note']}")
    sys.exit(0)
