"""Workers that are started by spawn, as on macOS and Windows: how soon a run begins once it was submitted."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from tests.support.orchestrator import body, task

RUNS = 15
AFTER = 1.0  # s between two runs: by then the process that the last one took is replaced


def _shared() -> ModuleType:
    """The benchmark of the shared worker, from its file: `tests.benchmarks` is no package."""
    path = Path(__file__).with_name("bench_shared.py")
    spec = importlib.util.spec_from_file_location("bench_shared", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def first_stage(service: RunningOrchestrator, number: int) -> float:
    """Milliseconds from the submission of a run of one Python task to its first stage, by the events' clock."""
    before = time.time()
    view, _ = await service.submissions.submit(body(task(f"t{number}")), owner="local")
    async with asyncio.timeout(60):
        while True:
            for event in await asyncio.to_thread(service.store.events, view.id):
                if event["type"] == "task.stage":
                    return (datetime.fromisoformat(event["at"]).timestamp() - before) * 1000
            await asyncio.sleep(0.02)


async def measure(data_dir: Path) -> list[dict[str, Any]]:
    shared = _shared()
    settings = Settings(
        data_dir=data_dir, log_level="WARNING", shared_worker=True, worker_start="spawn", max_running=4
    )
    orchestrator = Orchestrator(settings)
    service = await orchestrator.start()
    try:
        await service.submissions.submit(shared.body("warm"), owner="local")
        await shared.all_done(service)
        calls = await shared.first_call(service)
        stages = []
        for number in range(RUNS):
            stages.append(await first_stage(service, number))
            await shared.all_done(service)
            await asyncio.sleep(AFTER)
    finally:
        await orchestrator.stop()
    rows = [
        ("spawn: submit to first call of a prompt run", calls, 10),
        ("spawn: submit to first stage of a Python run", stages[1:], 400),
    ]
    return [
        {"name": name, "value": statistics.median(found), "unit": "ms", "aim": f"<= {aim}",
         "note": f"best {min(found):.0f}, worst {max(found):.0f} ms of {len(found)}"}
        for name, found, aim in rows
    ]  # fmt: skip


def main() -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"PO_BENCH_PORT": str(port), "OLLAMA_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    with tempfile.TemporaryDirectory(prefix="po-bench-") as folder:
        return asyncio.run(measure(Path(folder)))
