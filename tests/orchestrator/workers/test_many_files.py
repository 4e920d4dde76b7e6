"""B4, B5: what a run opens stays within what the machine allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import ROOT, body, orchestrator, wait_for_state

pytestmark = pytest.mark.integration

ROWS = """
import asyncio
begun, everybody = [], asyncio.Event()
async def ingestion(ctx):
    print("row", ctx.item, "begins")
    begun.append(ctx.item)
    if len(begun) >= 1000:
        everybody.set()
    await everybody.wait()
    print("row", ctx.item, end="")
"""

MAIN = """
import asyncio, sys
from pathlib import Path
from tests.support.orchestrator import body, orchestrator, wait_for_state
from tests.orchestrator.workers.test_many_files import ROWS

async def main(folder):
    rows = {"name": "rows", "for_each": "{{ seed.rows }}", "max_concurrency": 1000, "source": ROWS, "timeout": 60}
    asked = body(rows)
    asked["seed"]["data"] = {"rows": list(range(1000))}
    async with orchestrator(folder) as service:
        view, _ = await service.submissions.submit(asked, owner="me")
        view = await wait_for_state(service, view.id, patience=60)
        print(view.state, view.tasks[0].items.done, view.error)
        logs = folder / "runs" / view.id / "logs" / "rows"
        print(len({p.name: 1 for p in logs.glob("ingestion.*.log") if p.read_text().count("row") == 2}))

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no ulimit")
def test_1000_rows_that_print_at_once_hold_no_descriptors(tmp_path: Path) -> None:
    """B4: `max_concurrency` is honoured up to 1,000 also where a process may open 512 files: with the 1,024
    of many systems there is room for connections then."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

    done = subprocess.run(
        [sys.executable, "-c", MAIN, str(tmp_path)], cwd=ROOT, preexec_fn=limit, capture_output=True, text=True,
        env={**os.environ, "PO_LOG_LEVEL": "ERROR"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[-3:-1] == ["done 1000 None", "1000"], done.stdout[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no ulimit")
async def test_the_soft_limit_is_raised_for_workers_only(tmp_path: Path) -> None:
    """B4: a map may have 1,000 connections open, also where a shell's limit is 1,024."""
    source = (
        "import resource\ndef ingestion(ctx):\n    return list(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    import resource

    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        async with orchestrator(tmp_path) as service:
            view, _ = await service.submissions.submit(body({"name": "a", "source": source}), owner="me")
            view = await wait_for_state(service, view.id)
            outputs = await service.results.outputs(view.id, None)
            assert outputs["a"] == [min(4096, hard), hard]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(1024, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


CALLS = """
import asyncio, sys
from pathlib import Path
from tests.support.orchestrator import body, orchestrator, wait_for_state

async def main(folder):
    asked = body({"name": "rows", "for_each": "{{ seed.rows }}", "max_concurrency": 446, "prompt": "row {{ item }}"})
    asked["pipeline"]["llm"] = {"model": "openai:gpt-5-mini", "max_tokens": 50}
    asked["seed"]["data"] = {"rows": list(range(446))}
    async with orchestrator(folder) as service:
        view, _ = await service.submissions.submit(asked, owner="me")
        view = await wait_for_state(service, view.id, patience=60)
        print(view.state, view.tasks[0].items.done, view.error)
        log = DiskStore(folder / "store")
        waits = [e["data"].get("reason") for e in log.events(view.id, limit=100000) if e["type"] == "task.waiting"]
        print(waits[0])

from po_jupyter.store.disk.store import DiskStore
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no ulimit")
def test_446_calls_at_once_where_200_files_may_be_open_are_each_paid_for_once(tmp_path: Path) -> None:
    """P3, B4: `max_concurrency` is lowered to what the process can hold, and people see it."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    with ModelServer(latency=0.3) as model:
        done = subprocess.run(
            [sys.executable, "-c", CALLS, str(tmp_path)], cwd=ROOT, preexec_fn=limit, capture_output=True, text=True,
            env={
                **os.environ, "PO_LOG_LEVEL": "ERROR", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key
            },
            timeout=110,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        state, reason = done.stdout.split("\n")[-3:-1]
        assert state == "done 446 None", done.stdout[-2000:]
        assert reason.startswith("max_concurrency is lowered to"), reason
        assert len(model.requests) == 446 and model.duplicates() == {}
