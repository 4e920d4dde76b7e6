"""What traces cost: each run once with them and once without, in turns in one process, by the CPU time that it took;
where the model takes time as those of vendors do, by the time of the run.

The process is the worker's part of the product: the engine, a store on disk, a provider over HTTP, the exporter.
The server of the model and the collector are processes of their own. `PO_BENCH_PAIRS=200` is how many pairs there are.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from po_jupyter.config import Settings
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import open_session
from po_jupyter.llm.providers.registry import Connections, Providers
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import NewRun
from po_jupyter.telemetry import logging, tracing
from po_jupyter.worker.run_tracing import RunTracing

PAIRS = int(os.environ.get("PO_BENCH_PAIRS", "60"))
RESAMPLED = 2000
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

# Both print their port, and end with their standard input.
COLLECTOR = """
import http.server, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
"""
MODEL = """
import sys
from po_jupyter.testing.model_server import ModelServer
with ModelServer(latency=LATENCY) as model:
    print(model.base_url, model.key, flush=True)
    sys.stdin.read()
"""
LLM = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
TEXT = "lorem ipsum " * 40


class Workload(NamedTuple):
    """What is run: so many runs of a pipeline with one flush of the exporter behind them, for each half of a pair."""

    name: str
    tasks: list[dict[str, Any]]
    data: dict[str, Any]
    runs: int
    pairs: int
    sampled: float = 1.0
    latency: float = (
        0.0  # s, of the model; where there is one, the time of the runs is compared, not their CPU time
    )


CHAIN = [
    {"name": f"t{i}", "prompt": f"Question {i} about {{{{ seed.text }}}}", "needs": [f"t{i - 1}"] if i else []}
    for i in range(10)
]
MAP = [
    {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label it: {{ item }}", "max_concurrency": 20}
]
WORKLOADS = (
    Workload("a map of 1,000 rows", MAP, {"rows": [f"{i}: {TEXT}" for i in range(1000)]}, 1, PAIRS // 2),
    Workload("ten prompts, answered at once", CHAIN, {"text": TEXT}, 10, PAIRS),
    Workload("the same, every tenth run traced", CHAIN, {"text": TEXT}, 10, PAIRS, sampled=0.1),
    Workload("ten prompts of 0.1 s, time", CHAIN, {"text": TEXT}, 1, PAIRS // 4, latency=0.1),
)


class Pair(NamedTuple):
    """Seconds of runs with traces and of the same without."""

    traced: float
    plain: float


@contextmanager
def program(source: str) -> Iterator[str]:
    """What a program prints first; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


class Worker:
    """Works runs off as a worker does."""

    def __init__(self, folder: Path) -> None:
        self._store = DiskStore(folder / "store", shards=1)
        self._settings = Settings(data_dir=folder)
        self._connections = Connections()
        self._count = 0

    async def run_all(self, workload: Workload) -> float:
        """The seconds of this process for the runs of a workload, with their spans sent."""
        clock = time.perf_counter if workload.latency else time.process_time
        runs = [self._create(workload) for _ in range(workload.runs)]
        began = clock()
        for run in runs:
            # Each in an asyncio task, and so a context, of its own, as runs have it.
            await asyncio.create_task(self._run(run))
        if tracing._provider is not None:
            tracing._provider.force_flush()
        took = clock() - began
        for run in runs:
            self._store.delete_run(run)
        return took

    def _create(self, workload: Workload) -> str:
        self._count += 1
        run = f"{self._count:022x}"
        pipeline = validate_pipeline({"name": "bench", "llm": LLM, "tasks": workload.tasks})
        created = draft(
            "run.created", name="s", pipeline="bench", version="1.0.0", owner="me", budget={},
            tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks],
        )  # fmt: skip
        definition = {
            "pipeline": pipeline.to_json(),
            "seed": {"name": "s", "data": workload.data},
            "options": {},
        }
        self._store.create_run(NewRun(run, "me", "bench", "1.0.0", "s", 0, definition, [created]))
        return run

    async def _run(self, run: str) -> None:
        lease = self._store.claim(run, {"pid": 1})
        watching = RunTracing(run, self._store)
        session = await open_session(
            self._store, lease, settings=self._settings, observer=watching.observer(watching.read()),
            providers=Providers(os.environ, connections=self._connections),
        )  # fmt: skip
        state = await RunExecutor(session).run()
        await session.aclose()
        watching.end(state)
        assert state == "done", session.log.state.error

    async def close(self) -> None:
        await self._connections.aclose()
        self._store.close()


async def measure(folder: Path, endpoint: str, workload: Workload) -> list[Pair]:
    worker, found = Worker(folder), []
    os.environ |= {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(workload.sampled),
    }
    tracing._provider = None  # the sampler is chosen when it is made
    for number in range(workload.pairs + 3):
        took = {}
        # Either comes first as often: what grows warm or full while they run is nobody's.
        for traced in (True, False) if number % 2 else (False, True):
            os.environ[ENDPOINT] = endpoint if traced else ""
            took[traced] = await worker.run_all(workload)
        if number >= 3:
            found.append(Pair(took[True], took[False]))
    await worker.close()
    return found


def more(pairs: Sequence[Pair]) -> float:
    """How many per cent more runs with traces took: the middle one of the pairs, which a busy neighbour moves least."""
    return (statistics.median(p.traced / p.plain for p in pairs) - 1) * 100


def interval(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Where `more` is with 95 % (bootstrap over the pairs)."""
    chance = random.Random(0)
    found = sorted(more(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLED))
    return found[RESAMPLED // 40], found[-RESAMPLED // 40]


def main() -> list[dict[str, Any]]:
    logging.configure(Settings(log_level="WARNING"))
    rows = []
    with program(COLLECTOR) as port:
        for workload in WORKLOADS:
            with (
                program(MODEL.replace("LATENCY", str(workload.latency))) as model,
                tempfile.TemporaryDirectory(prefix="po-bench-") as folder,
            ):
                base_url, _, key = model.partition(" ")
                os.environ |= {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": key}
                found = asyncio.run(measure(Path(folder), f"http://127.0.0.1:{port}", workload))
            low, high = interval(found)
            each = statistics.median(p.plain for p in found) / workload.runs * 1000
            rows.append({
                "name": f"tracing: {workload.name}, more by", "value": round(more(found), 2), "unit": "%",
                "aim": "<= 2",
                "note": f"95 %: {low:.1f} to {high:.1f}; {len(found)} pairs, {each:.0f} ms a run without",
            })  # fmt: skip
    return rows
