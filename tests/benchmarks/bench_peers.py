"""A table labelled by us and by peers, side by side: wall, processor time and memory of all processes.

2,000 rows (PO_BENCH_ROWS), 100 in flight, structured answers, a model that takes 50 ms. Each tool is a process of its
own, from its start to the last answer, which is checked; ours is a client's process and the orchestrator with its
workers, which runs already. PO_BENCH_PEERS names interpreters to look for peers in, with `:` between them; a peer that
is in none of them is said. (curator and DocETL want other versions of the same libraries, so each has a venv of its
own: `uv venv v-curator`, `uv pip install --python v-curator bespokelabs-curator`.) The tools take turns PO_BENCH_TURNS
times, and the least of each number counts: on a machine with other work wall and processor time only ever grow.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from po_jupyter.client import headless
from po_jupyter.config import load
from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.testing.model_server import ModelServer
from tests.benchmarks import peers

ROWS = int(os.environ.get("PO_BENCH_ROWS", "2000"))
TURNS = int(os.environ.get("PO_BENCH_TURNS", "2"))
LATENCY = 0.05
TOOLS = {
    "raw": "aiohttp",
    "ours": "po_jupyter",
    "openai": "openai",
    "litellm": "litellm",
    "inspect_ai": "inspect_ai",
    "instructor": "instructor",
    "pydantic_ai": "pydantic_ai",
    "curator": "bespokelabs",
    "docetl": "docetl",
}
AIMS = {"wall": 1.5, "cpu": 2.5}
MEMORY_AIM = 150  # MB
_EVERY = 0.25  # s between two looks at the memory


class Cost(NamedTuple):
    """What one tool took: seconds, seconds of the processor, and the largest PSS of its processes together in MB."""

    wall: float
    cpu: float
    memory: float


def reply(body: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The model: the answer to the row that the request is about, or to what curator asks a server first."""
    found = re.search(r"ticket (\d+)", str(body.get("messages") or body.get("input")))
    return peers.answer(int(found[1])) if found else {"name": "Jason", "age": 25}


def _tree(pids: Sequence[int]) -> list[psutil.Process]:
    found = {pid: psutil.Process(pid) for pid in pids}
    for process in list(found.values()):
        found.update({child.pid: child for child in process.children(recursive=True)})
    return list(found.values())


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of these processes and their families, those included that ended."""
    total = 0.0
    for process in _tree(pids):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def _memory(pids: Sequence[int]) -> float:
    total = 0
    for process in _tree(pids):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def measured(command: Sequence[str], environ: Mapping[str, str], beside: Sequence[int]) -> Cost | str:
    """The cost of a command that says `done`, with that of the processes `beside` it; else what it said."""
    before, began, most = _cpu(beside) if beside else 0.0, time.perf_counter(), 0.0
    ended = threading.Event()
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stdin is not None

        def look() -> None:
            nonlocal most
            while not ended.wait(_EVERY):
                with suppress(psutil.Error):
                    most = max(most, _memory([child.pid, *beside]))

        watcher = threading.Thread(target=look)
        watcher.start()
        said = next((line.strip() for line in child.stdout if "done" in line or "wrong" in line), "it ended")
        wall = time.perf_counter() - began
        cost = Cost(wall, _cpu([child.pid, *beside]) - before, most) if said == "done" else said
        ended.set()
        watcher.join()
        child.stdin.close()
    return cost


def interpreter_with(module: str) -> str | None:
    """The first interpreter that has a module."""
    for python in [sys.executable, *filter(None, os.environ.get("PO_BENCH_PEERS", "").split(":"))]:
        look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        if subprocess.run([python, "-c", look], check=False).returncode == 0:
            return python
    return None


@contextmanager
def orchestrator(environ: Mapping[str, str]) -> Iterator[int]:
    """The pid of an orchestrator in the background, started and warm."""
    settings = load(environ)
    process = headless.start(settings, environ)
    try:
        time.sleep(3)
        yield process.pid
    finally:
        with suppress(psutil.NoSuchProcess):
            running = psutil.Process(process.pid)
            running.terminate()
            running.wait(20)


def main() -> list[dict[str, Any]]:
    """See the runner."""
    costs: dict[str, list[Cost]] = {}
    missing: dict[str, str] = {}
    pythons = {name: interpreter_with(module) for name, module in TOOLS.items()}
    with (
        ModelServer(reply, latency=LATENCY) as server,
        tempfile.TemporaryDirectory(prefix="po-bench-") as folder,
    ):
        environ = {
            **os.environ, "PO_DATA_DIR": folder, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k",
            "PYTHONPATH": SOURCE_ROOT, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip
        with orchestrator(environ) as pid:
            for _ in range(TURNS):
                for name, python in pythons.items():
                    if python is None or name in missing:
                        missing[name] = missing.get(name, "not installed: see PO_BENCH_PEERS")
                        continue
                    script = str(Path(peers.__file__ or "").resolve())
                    command = [python, script, name, server.base_url, str(ROWS)]
                    own = environ if name == "ours" else {k: v for k, v in environ.items() if k != "PYTHONPATH"}
                    cost = measured(command, own, [pid] if name == "ours" else [])
                    if isinstance(cost, str):
                        missing[name] = cost
                    else:
                        costs.setdefault(name, []).append(cost)
    least = {name: Cost(*map(min, zip(*found, strict=True))) for name, found in costs.items()}
    return rows_of(least, missing)


def rows_of(costs: Mapping[str, Cost], missing: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of the report."""
    rows: list[dict[str, Any]] = []
    base = costs["raw"]
    for name, cost in costs.items():
        note = f"{cost.wall:.2f} s, {cost.cpu:.2f} s of the processor"
        for what, ratio in (("wall", cost.wall / base.wall), ("cpu", cost.cpu / base.cpu)):
            aim = f"<= {AIMS[what]}" if name == "ours" else ""
            rows.append(
                {"name": f"{name}: {what}", "value": round(ratio, 2), "unit": "x raw", "aim": aim, "note": note}
            )
        aim = f"<= {MEMORY_AIM}" if name == "ours" else ""
        memory = round(cost.memory)
        rows.append({"name": f"{name}: memory", "value": memory, "unit": "MB", "aim": aim, "note": "PSS"})
    for name, reason in missing.items():
        rows.append({"name": name, "value": None, "unit": "x raw", "aim": "", "note": reason})
    return rows
