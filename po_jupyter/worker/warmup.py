"""The warm-up: one small run inside the zygote, so that first uses are paid for before the forks, not after each.

Python specialises bytecode while it runs: a child that does that by itself pays for it in time, and again in
pages that it no longer shares. Compiled templates, validators and module-level caches are warm as well.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect
from po_jupyter.errors import PoError
from po_jupyter.ipc.messages import WorkerRequest
from po_jupyter.model.run.events import draft
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import NewRun
from po_jupyter.telemetry import logging, tracing
from po_jupyter.worker import main as worker

_log = structlog.get_logger(__name__)

_TASKS = 12  # a line of bytecode is specialised after some eight passes
_TIMEOUT = 20.0  # s; it takes 0.1
_SOURCE = (
    "def ingestion(ctx):\n    return {'seed': ctx.seed}\n\nasync def integration(ctx):\n    return ctx.output\n"
)


def warm_up() -> None:
    """Work the small run off, and log what keeps it from its end: workers start without it too, only slower."""
    logging.preconfigure(Settings())
    try:
        with tracing.suspended(), tempfile.TemporaryDirectory(prefix="po-warm-up-") as folder:
            asyncio.run(_run(Path(folder)))
    except (OSError, PoError) as error:  # the disk, the store, or no end within _TIMEOUT
        _log.warning("the warm-up failed, so workers start slower", error=f"{type(error).__name__}: {error}")
    except Exception:  # a mistake of ours is seen in the log, and stops nobody's run
        _log.exception("the warm-up failed, so workers start slower")
    if threading.active_count() > 1:
        names = [thread.name for thread in threading.enumerate()]
        _log.warning("the warm-up left threads, whose locks would stay locked in each worker", threads=names)


async def _run(folder: Path) -> None:
    tasks: list[dict[str, Any]] = [{"name": f"t{i}", "source": _SOURCE} for i in range(_TASKS)]
    tasks += [{"name": f"p{i}", "prompt": "{{ seed.text }}", "llm": {"model": "fake:echo"}} for i in range(2)]
    store = DiskStore(folder / "store", shards=1)
    try:
        events = [
            draft(
                "run.created", name="warm-up", pipeline="warm-up", version="1.0.0",
                tasks=[{"name": t["name"], "kind": "prompt" if "prompt" in t else "python"} for t in tasks],
                owner="", budget={},
            )
        ]  # fmt: skip
        definition = {
            "pipeline": {"name": "warm-up", "tasks": tasks},
            "seed": {"name": "warm-up", "data": {"text": "x"}},
            "options": {},
        }
        run = "0" * 22
        store.create_run(NewRun(run, "", "warm-up", "1.0.0", "warm-up", 0, definition, events))
        (folder / "runs" / run).mkdir(parents=True)
        stdio_redirect.own(folder / "runs" / run)
        request = WorkerRequest(
            run=run, expect=0, address=str(folder / "no-orchestrator"), watched=False, shards=1, settings={},
            cwd=None, log="", env={}, log_token=None,
        )  # fmt: skip
        async with asyncio.timeout(_TIMEOUT):
            await worker.work_off(request, Settings(data_dir=folder), store)
    finally:
        stdio_redirect.disown()
        store.close()
