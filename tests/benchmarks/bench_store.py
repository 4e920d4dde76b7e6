"""The store: a durable checkpoint, its bytes, group commit, opening; beside LangGraph and DBOS on SQLite.

The neighbours run in the same minute on the same disk, because disks have moods, each in its own process.
What is timed there is a whole step, their engine included; what is timed here is the store alone. Install them
with the extra `bench`; where one is absent its row says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from po_jupyter.model.run.events import draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.group_commit import GroupCommitter
from po_jupyter.store.protocol import Commit, NewRun, Ref
from tests.benchmarks import many_runs

CHECKPOINTS = 300
OUTPUT = 1024  # bytes of JSON
ROWS = 10_000
USAGE = Usage(input_tokens=812, output_tokens=214, cost=0.000631, calls=1).to_json()


def row(name: str, value: float | None, unit: str, aim: str = "", note: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "aim": aim, "note": note}


def english() -> Iterator[str]:
    """Texts of OUTPUT bytes of English that every Python has: the help of its own language reference."""
    from pydoc_data.topics import topics

    prose = " ".join(" ".join(topics.values()).split()).encode("ascii", "ignore").decode()
    start = 0
    while True:
        text = prose[start : start + OUTPUT]
        spare = len(json.dumps({"text": text})) - OUTPUT
        yield text[: len(text) - spare]
        start = (start + 937) % (len(prose) - OUTPUT)


def noise() -> Iterator[str]:
    """Texts that cannot be compressed below six bits a character."""
    random_ = random.Random(7)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    while True:
        yield "".join(random_.choices(letters, k=OUTPUT - len('{"text":""}')))


def task(i: int, text: str) -> Commit:
    """What the end of one task writes: eight events and the output."""
    name = f"task-{i}"
    stages = ("ingestion", "prompt_templating", "inference", "parsing", "validate_structure")
    return Commit(
        events=[
            draft("task.started", name, attempt=1),
            *(draft("task.stage", name, stage=stage, round=0) for stage in stages),
            draft(
                "call.done",
                name,
                usage=USAGE,
                model="openai:gpt-5-mini",
                seconds=1.372,
                stage="inference",
                cached=False,
            ),
            draft("task.done", name, output=0, seconds=1.402),
        ],
        payloads=[{"text": text}],
    )


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e3, ordered[int(len(ordered) * 0.99)] * 1e3


def opened(path: Path) -> DiskStore:
    store = DiskStore(path)
    store.create_run(NewRun("0001", "bench", "bench", "1.0.0", "bench", 0, {}, [draft("run.created")]))
    return store


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def checkpoints(path: Path, texts: Iterator[str]) -> tuple[list[float], float, float]:
    """Seconds of each commit; bytes on disk for each after the first CHECKPOINTS, everything counted, and for
    each of those that follow. The WAL is folded in."""
    store = opened(path)
    lease = store.claim("0001", {"pid": os.getpid()})
    seconds: list[float] = []

    def write(count: int) -> None:
        for i in range(count):
            commit = task(i, next(texts))
            start = time.perf_counter()
            store.commit(lease, commit)
            seconds.append(time.perf_counter() - start)

    write(CHECKPOINTS)
    store.close()
    before = size(path)
    write(2 * CHECKPOINTS)
    store.close()
    return seconds, before / CHECKPOINTS, (size(path) - before) / (2 * CHECKPOINTS)


async def rows_per_second(path: Path, in_flight: int) -> tuple[float, float]:
    """Rows per second and CPU microseconds per commit, a row being an intent and an outcome, both awaited."""
    store = opened(path)
    indices = iter(range(ROWS))
    async with GroupCommitter(store, store.claim("0001", {"pid": os.getpid()}), n=1) as committer:

        async def work() -> None:
            for i in indices:
                key = f"classify/{i}/1/0/inference/9f86d081884c7d65/0"
                intent = {"key": key, "kind": "intent", "task": "classify", "item": i}
                await committer.commit(Commit(calls=[intent]))
                answer = {"key": key, "kind": "response", "answer": 0, "usage": USAGE}
                item = {
                    "task": "classify",
                    "index": i,
                    "ok": True,
                    "key": f"{i:032x}",
                    "usage": USAGE,
                    "output": 1,
                }
                label = {"label": "bug", "reason": f"row {i} says that the export button does nothing"}
                text = {"text": json.dumps(label), "finish": "stop"}
                await committer.commit(Commit(calls=[answer], items=[item], payloads=[text, label]))

        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    store.close()
    return ROWS / seconds, cpu / ROWS / 2 * 1e6


def fsync(path: Path) -> float:
    """What this disk takes to make 4 KB durable, the median in milliseconds: the floor under every commit."""
    with path.open("wb") as file:

        def write() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return timed(write, 200)


def timed(work: Callable[[], Any], times: int) -> float:
    """The median in milliseconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return percentiles(seconds)[0]


LANGGRAPH = """
import json, os, sqlite3, sys, time
from typing import TypedDict
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
texts, path = json.load(sys.stdin), sys.argv[1]
class State(TypedDict):
    n: int
    text: str
stamps, sizes = [], []
def node(state):
    stamps.append(time.perf_counter())
    return {"n": state["n"] + 1, "text": texts[state["n"]]}
graph = StateGraph(State)
graph.add_node("node", node)
graph.add_edge(START, "node")
graph.add_conditional_edges("node", lambda state: END if state["n"] >= len(texts) else "node")
connection = sqlite3.connect(path + "/store.db", check_same_thread=False)
compiled = graph.compile(checkpointer=SqliteSaver(connection))
config = {"configurable": {"thread_id": "1"}, "recursion_limit": 10**6}
compiled.invoke({"n": 0, "text": ""}, config, durability="sync")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
"""
DBOS = """
import json, sys, time
from dbos import DBOS
texts, path = json.load(sys.stdin), sys.argv[1]
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}/store.db", "log_level": "ERROR",
             "run_admin_server": False})
stamps = []
@DBOS.step()
def step(i):
    return {"text": texts[i]}
@DBOS.workflow()
def workflow():
    for i in range(len(texts)):
        stamps.append(time.perf_counter())
        step(i)
DBOS.launch()
workflow()
DBOS.destroy()
"""
REPORT = "\nprint(json.dumps([b - a for a, b in zip(stamps, stamps[1:])]))\n"


def neighbour(name: str, module: str, code: str, texts: list[str]) -> list[dict[str, Any]]:
    """The same outputs through another engine: p50, p99 and bytes a step."""
    label = f"{name}: one step, 1 KB"
    if find_spec(module) is None:
        return [row(f"{label}, p50", None, "ms", note="not installed (pip install the extra `bench`)")]
    with tempfile.TemporaryDirectory() as path:
        child = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code) + REPORT, path],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            timeout=300,
        )
        if child.returncode:
            return [
                row(f"{label}, p50", None, "ms", note=f"failed: {child.stderr.strip().splitlines()[-1][:100]}")
            ]
        p50, p99 = percentiles(json.loads(child.stdout.splitlines()[-1]))
        stored = size(Path(path)) / len(texts)
    return [
        row(f"{label}, p50", p50, "ms", note="a whole step, its engine included"),
        row(f"{label}, p99", p99, "ms"),
        row(f"{label}, stored", stored / 1024, "KB", note=f"English, the whole file / {len(texts)}"),
    ]


def lists(path: Path) -> list[dict[str, Any]]:
    store = DiskStore(path)
    many_runs.fill(store)
    slowest, name, first = many_runs.lists(store)
    store.close()
    return [
        row("a list of 50 among 100,000 runs", slowest, "ms", "<= 20", f"the slowest filter: {name}"),
        row("the first filtered list of such a store", first, "ms", note="its index is made, once"),
    ]


def main() -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        seconds, whole, stored = checkpoints(base / "english", english())
        p50, p99 = percentiles(seconds)
        rows.append(row("fsync of 4 KB, p50", fsync(base / "file"), "ms", note="the disk itself, no store"))
        rows.append(
            row("checkpoint of a task, p50", p50, "ms", "<= 5", "1 KB output, 8 events, on the disk (fsync)")
        )
        rows.append(row("checkpoint of a task, p99", p99, "ms"))
        texts = english()
        given = [next(texts) for _ in range(CHECKPOINTS)]
        rows += neighbour("LangGraph (SqliteSaver)", "langgraph", LANGGRAPH, given)
        rows += neighbour("DBOS (SQLite)", "dbos", DBOS, given)
        note = "output, 8 events, indexes; after the WAL is folded in"
        rows.append(row("stored per checkpoint, English", stored / 1024, "KB", "<= 1.5", note))
        note = f"the whole store / {CHECKPOINTS}"
        rows.append(row("stored per checkpoint, English, all files", whole / 1024, "KB", note=note))
        _, _, stored = checkpoints(base / "noise", noise())
        rows.append(
            row(
                "stored per checkpoint, noise",
                stored / 1024,
                "KB",
                "<= 1.5",
                "base64-like text: 6 random bits a byte",
            )
        )
        for in_flight in (16, 100, 400):
            rate, cpu = asyncio.run(rows_per_second(base / f"group-{in_flight}", in_flight))
            rows.append(
                row(f"group commit, {in_flight} in flight", rate, "rows/s", ">= 3000", "intent + outcome a row")
            )
            rows.append(
                row(
                    f"group commit, {in_flight} in flight",
                    cpu,
                    "µs CPU/commit",
                    "<= 30" if in_flight > 99 else "",
                )
            )
        store = DiskStore(base / "english")
        rows.append(row("head of a run", timed(lambda: store.head("0001"), 500), "ms"))
        ref = iter(range(2, 10_000))
        rows.append(row("a payload, cold", timed(lambda: store.payload("0001", Ref(next(ref), 0)), 300), "ms"))
        every = timed(lambda: store.events("0001", limit=10**6), 5)
        rows.append(row("all events of a run", every, "ms", note=f"{store.head('0001')['offset']} events"))
        last = store.head("0001")["offset"] - 3
        rows.append(row("the last events of a run", timed(lambda: store.events("0001", since=last), 300), "ms"))

        def reopen() -> None:
            DiskStore(base / "english").close()

        rows.append(row("opening an existing store", timed(reopen, 50), "ms", "<= 5", "and closing it"))
        store.close()
        rows += lists(base / "many")
    return rows
