"""The main program of a worker process: one run, from claim to end.

It works from the first moment and looks for its orchestrator beside that: whoever listens at the address is
told what happens, and a worker that hears nobody for `orphan_timeout` drains and exits, so that nothing
spends unseen.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.base import deadline
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import open_session
from po_jupyter.engine.stage_logs.capture import gather
from po_jupyter.engine.stage_logs.fd_redirect import descriptors
from po_jupyter.errors import StaleFence, StoreError
from po_jupyter.ipc.channel import IN_ORDER, OVERTAKEN, STORE_FAILED
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.wire.exchange import ProviderEndpoint
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.maintenance.call_cache import cache_of
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Head, Lease, LogStore
from po_jupyter.telemetry import logging
from po_jupyter.telemetry.correlation import request_id
from po_jupyter.worker.orchestrator_link import Uplink
from po_jupyter.worker.rate_limit_client import RateAdmission

log = structlog.get_logger("po_jupyter.worker")


def main(request: Mapping[str, Any], settings: Settings) -> int:
    """Do the run of `request` `{run, address, expect, watched, shards, log}`; the exit status of the process."""
    logging.configure_worker(
        settings, run=request["run"], token=request.get("log_token"), file=Path(request["log"])
    )
    # After the log took its own: what libraries print goes to the stage that runs.
    descriptors.own(settings.data_dir / "runs" / request["run"])
    # Not `asyncio.run`: it would wait for threads in which user code still blocks. The zygote's child ends with
    # `os._exit` right after this returns.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    deadline.notice_pauses(loop)
    store = DiskStore(settings.data_dir / "store", shards=request["shards"], checked=True)
    try:
        return loop.run_until_complete(work_off(request, settings, store))
    except StaleFence as error:
        log.warning("overtaken", reason=error.message)
        return OVERTAKEN
    except StoreError as error:
        log.error("the store failed", error=error.message, hint=error.hint)
        return STORE_FAILED
    finally:
        logging.flush()


async def work_off(request: Mapping[str, Any], settings: Settings, store: DiskStore) -> int:
    """Claim the run and drive it to where it leaves this process. Raises StoreError, StaleFence among them."""
    run: str = request["run"]
    link = Uplink(Path(request["address"]), settings, run=run, watched=bool(request.get("watched")))
    loop = asyncio.get_running_loop()
    lease = await loop.run_in_executor(store.thread(run), take, store, run, request.get("expect"))
    run_dir = settings.data_dir / "runs" / run
    gather(run_dir)
    link.start(lease.fence)

    async def endpoint(model: str) -> ProviderEndpoint:
        # The weights may have to be fetched first, or the server be started: the stage waits, it does not work.
        with deadline.waiting():
            answer = await link.need("local_model", waiting, model=model)
        return ProviderEndpoint(answer["base_url"], answer["key"])

    def waiting(reason: str) -> None:
        running = sorted(session.signals.running)
        session.log.emit(*(draft("task.waiting", task, reason=reason) for task in running))

    def limited(task: str, reason: str | None, seconds: float | None) -> None:
        session.log.emit(draft("task.waiting", task, reason=reason, seconds=seconds, stays=True))

    def drain() -> None:
        session.signals.drain()
        admission.drain()

    admission = RateAdmission(link, settings, say=limited)
    link.on_welcome, link.on_rate = admission.welcomed, admission.heard
    providers = Providers(dict(os.environ), local=endpoint)
    try:
        session = await open_session(
            store, lease, settings=settings, providers=providers,
            answers=cache_of(settings), base_url=providers.base_url,
            on_text=link.text, watched=lambda: link.watched, on_commit=link.committed, on_rest=link.rest,
            run_dir=run_dir, admission=admission,
        )  # fmt: skip
        # Who submitted it had to be allowed to run code: what the run's code asks may name a CLI agent too.
        providers.allow_cli_agents(settings.cli_agents, submitter=session.inputs.definition.code_allowed)
        request_id.set(session.log.state.request)
        link.on_look = link.on_cancel = session.signals.cancel_hint
        link.on_drain = drain
        loop.add_signal_handler(signal.SIGTERM, drain)
        state = await RunExecutor(session).run()
        await session.aclose()
        await link.bye(state)
    except StaleFence:
        raise
    except StoreError as error:
        await link.failed(error.message, error.hint)
        raise
    finally:
        await link.close()
    return IN_ORDER


def take(store: LogStore, run: str, expect: int | None = None) -> Lease:
    """Claim the run for this process.

    `expect` is the fence that whoever sent us saw: a higher one means that somebody took the run meanwhile.
    A holder of this host that still lives is ended first. Raises StaleFence, NotFound.
    """
    head = store.head(run)
    if expect is not None and head["fence"] != expect:
        raise StaleFence(f"run {run} was taken by somebody else before this worker started")
    end_holder(head)
    return store.claim(run, processes.myself())


def end_holder(head: Head) -> None:
    """Kill the process that holds the run, with its group, and wait until it is gone."""
    holder = head["holder"]
    if holder is not None and holder.get("pid") != os.getpid() and processes.alive(holder):
        log.warning("ending the former worker", run=head["run"], pid=holder["pid"])
        processes.end_group(holder)
        processes.wait_gone(holder, 5.0)
