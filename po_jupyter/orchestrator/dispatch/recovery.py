"""Recovery: what the holder of the lease does about runs that were there before it, and about lost hints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from po_jupyter.errors import StoreError
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Head

log = structlog.get_logger(__name__)


async def recover(active: Callable[[], list[Head]], supervisor: Supervisor, to_thread: ToThread) -> int:
    """Attend to every `active` run: adopt those whose worker lives, queue the others. Returns how many
    there were.

    A server's death is nobody's crash: nothing is counted here.
    """
    heads = await to_thread(active)
    for head in heads:
        await supervisor.attend(head["run"])
    if heads:
        log.info("recovered", runs=len(heads))
    return len(heads)


async def sweep(
    active: Callable[[], list[Head]], supervisor: Supervisor, to_thread: ToThread, every: float
) -> None:
    """Attend, every so many seconds, to `active` runs that nobody here knows: a hint that was lost (a notification that
    timed out, an error of the moment) loses no run (P1). Runs until cancelled."""
    waiting: dict[str, int] = {}  # as last attended: they need nothing until their log grows
    while True:
        await asyncio.sleep(every)
        try:
            heads: list[Head] = await to_thread(active)
        except StoreError as error:
            log.warning("cannot look at the store", error=error.message)
            continue
        waiting = {h["run"]: waiting.get(h["run"], 0) for h in heads if h["state"] == "waiting"}
        for head in heads:
            run = head["run"]
            if supervisor.has_run(run) or waiting.get(run) == head["n"]:
                continue
            if run in waiting:
                waiting[run] = head["n"]
            await supervisor.attend(run)
            if run not in waiting and supervisor.has_run(run):  # else it has ended since the list was read
                log.warning("a run that nobody looked after", run=run, state=head["state"])
