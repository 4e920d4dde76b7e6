"""The main program of a worker process: one run, from claim to end, or many together (`shared`).

It works from the first moment and looks for its orchestrator beside that. A worker that has no orchestrator for
`orphan_timeout` drains and exits, so that nothing spends unseen.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import cast

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect
from po_jupyter.errors import StaleFence, StoreError
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import DrainWorker, WorkerRequest
from po_jupyter.platform import pauses, signals
from po_jupyter.store.opening import open_store
from po_jupyter.store.protocol import Store
from po_jupyter.telemetry import logging, tracing
from po_jupyter.telemetry.redaction import Fingerprint, redactor
from po_jupyter.worker.call_cache import open_call_cache
from po_jupyter.worker.open_calls import CallSlots
from po_jupyter.worker.orchestrator_link import OrchestratorLink
from po_jupyter.worker.run_link import RunLink
from po_jupyter.worker.run_worker import ProcessParts, RunWorker, holder_of

log = structlog.get_logger(__name__)


def main(request: WorkerRequest, settings: Settings) -> int:
    """Work the run of `request` off, or the many that a process without one is sent; the exit status of the process."""
    shared = request.turns is not None
    logging.configure_worker(settings, run=request.run or None, token=request.log_token, file=Path(request.log))
    tracing.use_headers(request.trace_headers)
    redactor.learn_fingerprints(cast(list[Fingerprint], request.fingerprints or []))
    if not shared:
        # After the log took its own: what libraries print goes to the stage that runs.
        stdio_redirect.own(settings.data_dir / "runs" / request.run)
    # Not `asyncio.run`: it would wait for threads in which user code still blocks. The zygote's child ends with
    # `os._exit` right after this returns.
    loop = _new_loop(shared)
    asyncio.set_event_loop(loop)
    pauses.notice_pauses(loop)
    store = open_store(settings.data_dir / "store", request.store, shards=request.shards, checked=True)
    try:
        return loop.run_until_complete(work_off(request, settings, store))
    except StaleFence as error:
        log.warning("overtaken", reason=error.message)
        return ExitStatus.OVERTAKEN
    except StoreError as error:
        log.error("the store failed", error=error.message, hint=error.hint)
        return ExitStatus.STORE_FAILED
    finally:
        tracing.shutdown()
        logging.flush()


def _new_loop(shared: bool) -> asyncio.AbstractEventLoop:
    if shared:
        from po_jupyter.worker.turns import TurnLoop

        return TurnLoop()
    return asyncio.new_event_loop()


async def work_off(request: WorkerRequest, settings: Settings, store: Store) -> ExitStatus:
    """Claim the run, or the runs, and drive them to where they leave this process. Raises StoreError, StaleFence among
    them."""
    if request.turns is not None:
        from po_jupyter.worker.shared import SharedWorker

        return await SharedWorker(request, settings, store).serve()
    return await _work_off_one(request, settings, store)


async def _work_off_one(request: WorkerRequest, settings: Settings, store: Store) -> ExitStatus:
    """The run of a process of its own."""
    parts = ProcessParts(
        settings=settings,
        store=store,
        holder=holder_of(settings),
        slots=CallSlots(),
        answers=open_call_cache(settings, request.store),
    )
    process = OrchestratorLink(
        Path(request.address),
        settings,
        eager=request.watched,
        credential=(Credential.from_text(request.credential) if request.credential else None),
    )
    link = RunLink(process, request.run)
    signals.on_signal(signal.SIGTERM, lambda: link.deliver(DrainWorker()))
    try:
        await RunWorker(parts, link, request.expect).work_off()
    finally:
        await process.close()
    return ExitStatus.ORDERLY
