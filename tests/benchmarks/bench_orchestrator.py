"""How fast a run starts, how many runs a second go through, and what an idle orchestrator and a run weigh."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.config import Settings
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator

RUNS = 100
EMPTY = "def ingestion(ctx):\n    return None\n"


def empty(tasks: int, source: str = EMPTY) -> dict[str, Any]:
    """A body of that many tasks that do nothing."""
    return {
        "pipeline": {"name": "empty", "tasks": [{"name": f"t{i}", "source": source} for i in range(tasks)]},
        "seed": {"name": "seed", "data": {}},
    }


async def done(service: RunningOrchestrator, run: str) -> None:
    async with service.changes.subscribe(run) as notes:
        while (view := await service.runs.get(run, None)).state != "done":
            assert view.state in ("pending", "running"), view.error
            await notes.get(1.0)


async def latency(service: RunningOrchestrator) -> list[float]:
    """Milliseconds from the call of `submit` to the first line of the first stage, by the wall clock."""
    source = "import time\ndef ingestion(ctx):\n    return time.time()\n"
    found = []
    for _ in range(20):
        before = time.time()
        view, _ = await service.submissions.submit(empty(1, source), owner="local")
        await done(service, view.id)
        found.append(((await service.results.outputs(view.id, None))["t0"] - before) * 1000)
        await asyncio.sleep(0.05)
    return found


async def spawn_latency(data_dir: Path) -> list[float]:
    """As `latency`, where workers are no forks but processes of their own."""
    spawning = Orchestrator(Settings(data_dir=data_dir, log_level="WARNING", worker_start="spawn"))
    service = await spawning.start()
    try:
        await service.zygotes.get(None)
        return await latency(service)
    finally:
        await spawning.stop()


def cpu(service: RunningOrchestrator) -> tuple[float, float, float]:
    """CPU seconds so far of this process, of the zygote, and of the workers that ended."""
    zygote = psutil.Process(service.zygotes.pids()[0]).cpu_times()
    return time.process_time(), zygote.user + zygote.system, zygote.children_user + zygote.children_system


async def throughput(service: RunningOrchestrator) -> tuple[float, tuple[float, ...]]:
    """Runs of ten empty tasks a second, all submitted at once, and ms of CPU a run: see `cpu`."""
    used = cpu(service)
    before = time.perf_counter()
    async with service.changes.subscribe(None) as notes:
        runs = set()
        for _ in range(RUNS):
            view, _ = await service.submissions.submit(empty(10), owner="local")
            runs.add(view.id)
        while service.live_runs():
            await notes.get(0.05)
    seconds = time.perf_counter() - before
    for run in runs:
        assert (await service.runs.get(run, None)).state == "done"
    each = tuple((now - then) / RUNS * 1000 for now, then in zip(cpu(service), used, strict=True))
    return RUNS / seconds, each


def weight(pid: int) -> tuple[float, float]:
    """(PSS, USS) of a process in MB: its share of shared pages, and what is its alone."""
    memory = psutil.Process(pid).memory_full_info()
    return memory.pss / 1e6, memory.uss / 1e6


async def memory(service: RunningOrchestrator) -> tuple[float, float, float]:
    """(orchestrator's RSS, zygote's USS, a running run's PSS) in MB, with four runs at work."""
    runs = []
    source = "import asyncio\nasync def ingestion(ctx):\n    await asyncio.sleep(2)\n"
    for _ in range(4):
        view, _ = await service.submissions.submit(empty(1, source), owner="local")
        runs.append(view.id)
    await asyncio.sleep(0.8)
    shares = [weight(w.pid)[0] for w in service.dispatcher.active.supervisor.processes.by_run.values()]
    zygote = weight(service.zygotes.pids()[0])[1]
    for run in runs:
        await done(service, run)
    return psutil.Process().memory_info().rss / 1e6, zygote, statistics.mean(shares)


async def measure(data_dir: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def row(name: str, value: float, unit: str, aim: str, note: str = "") -> None:
        rows.append({"name": name, "value": round(value, 2), "unit": unit, "aim": aim, "note": note})

    orchestrator = Orchestrator(Settings(data_dir=data_dir, log_level="WARNING"))
    before = time.perf_counter()
    service = await orchestrator.start()
    row("orchestrator start", (time.perf_counter() - before) * 1000, "ms", "")
    before = time.perf_counter()
    await service.zygotes.get(None)
    row("zygote start", (time.perf_counter() - before) * 1000, "ms", "")
    times = await latency(service)
    row("submit to first stage", statistics.median(times), "ms", "<= 30", f"worst of 20: {max(times):.0f} ms")
    rate, each = await throughput(service)
    row(
        "runs of ten empty tasks",
        rate,
        "runs/s",
        ">= 50",
        f"{RUNS} runs, {service.settings.max_running} at once",
    )
    # What the rate comes to on a machine that does nothing else: 1,000 / this x cores.
    split = "orchestrator {:.1f}, zygote {:.1f}, worker {:.1f}".format(*each)
    row("a run of ten empty tasks, CPU", sum(each), "ms", "<= 36", split)
    rss, zygote, share = await memory(service)
    row("orchestrator's process", rss, "MB RSS", "", "this benchmark's process, everything imported")
    row("zygote", zygote, "MB USS", "", "what no other process shares")
    row("a running run", share, "MB PSS", "", "of four at once")
    await orchestrator.stop()
    times = await spawn_latency(data_dir / "spawn")
    row(
        "submit to first stage, by spawn",
        statistics.median(times),
        "ms",
        "<= 400",
        f"worst of 20: {max(times):.0f} ms",
    )
    return rows


def main() -> list[dict[str, Any]]:
    """The rows of `python -m tests.benchmarks orchestrator`."""
    from po_jupyter.telemetry.logging import configure

    with tempfile.TemporaryDirectory(prefix="po-bench-") as folder:
        configure(Settings(data_dir=Path(folder), log_level="WARNING"))
        return asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    for found in main():
        print(f"{found['name']:28} {found['value']:10} {found['unit']:8} {found['aim']:8} {found['note']}")
    sys.exit(0)
