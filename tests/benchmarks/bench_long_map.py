"""A long map: how much each process grows with its rows.

100,000 rows (PO_BENCH_LONG_ROWS) of a model that answers at once, in the worker itself, so that what grows is ours. The
memory of the orchestrator, its zygote and the run's worker is looked at while rows are done, and growth is the slope
of the line through what was seen after the first tenth: by then every cache is warm.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from statistics import linear_regression
from typing import Any

import psutil

from po_jupyter.client import headless
from po_jupyter.client.client import Client
from po_jupyter.config import load

ROWS = int(os.environ.get("PO_BENCH_LONG_ROWS", "100000"))
AIM = 2.0  # MB for each 10,000 rows
_UNIT = 10_000
_EVERY = 0.5  # s between two looks
_DEADLINE = 3600.0  # s


def pss(process: psutil.Process) -> float:
    """MB of a process, what it shares counted in part."""
    return float(process.memory_full_info().pss / 1e6)


def processes_of(orchestrator: psutil.Process) -> dict[str, psutil.Process]:
    """The orchestrator, its zygote, and the worker that the zygote forked, as far as they are there."""
    found = {"orchestrator": orchestrator}
    for child in orchestrator.children():
        if any("zygote" in part for part in child.cmdline()):
            found["zygote"] = child
            found |= zip(("worker",), child.children(), strict=False)
    return found


def watched(client: Client, orchestrator: psutil.Process) -> tuple[dict[str, list[tuple[int, float]]], float]:
    """(rows that were done, MB) of each process, of one run; and the seconds that it took."""
    pipeline = {
        "name": "long",
        "llm": {"model": "fake:echo"},
        "tasks": [
            {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "{{ item }}", "max_concurrency": 100}
        ],
    }
    rows = [f"Label ticket {number}: the export button does nothing" for number in range(ROWS)]
    seen: dict[str, list[tuple[int, float]]] = {}
    began = time.monotonic()
    run = client.submit(pipeline, {"rows": rows}, fresh=True)
    del rows
    while (view := run.refresh()).state not in ("done", "failed") and time.monotonic() - began < _DEADLINE:
        items = view.tasks[0].items if view.tasks else None
        rows_done = 0 if items is None else items.done
        with suppress(psutil.Error):
            for name, process in processes_of(orchestrator).items():
                seen.setdefault(name, []).append((rows_done, pss(process)))
        time.sleep(_EVERY)
    run.raise_for_error()
    return seen, time.monotonic() - began


def rows_of(seen: dict[str, list[tuple[int, float]]], seconds: float) -> list[dict[str, Any]]:
    """The rows of the report."""
    rows: list[dict[str, Any]] = []
    for name, points in seen.items():
        warm = [point for point in points if point[0] >= ROWS / 10]
        value = None
        if len({done for done, _ in warm}) > 1:
            value = round(linear_regression(*zip(*warm, strict=True)).slope * _UNIT, 2)
        note = f"{ROWS:,} rows, {points[0][1]:.0f} MB at first, at most {max(mb for _, mb in points):.0f}"
        rows.append(
            {"name": f"{name}: growth", "value": value, "unit": "MB/10,000", "aim": f"<= {AIM}", "note": note}
        )
    rows.append(
        {"name": "rows", "value": round(ROWS / seconds), "unit": "1/s", "aim": "", "note": f"{seconds:.0f} s"}
    )
    return rows


def main() -> list[dict[str, Any]]:
    """See the runner."""
    with tempfile.TemporaryDirectory(prefix="po-bench-") as folder:
        environ = {**os.environ, "PO_DATA_DIR": folder}
        started = headless.start(load(environ), environ)
        orchestrator = psutil.Process(started.pid)
        client = Client(started.endpoint)
        try:
            return rows_of(*watched(client, orchestrator))
        finally:
            client.close()
            orchestrator.terminate()
            orchestrator.wait(20)
