"""What a cancelled run does with its batches: see `BatchMap.wind_up`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from po_jupyter.engine.maps.batches.batch_map import BatchMap
from po_jupyter.errors import PoError, StoreError
from po_jupyter.platform.concurrency import together

if TYPE_CHECKING:
    from po_jupyter.engine.run.session import Work

_log = structlog.get_logger(__name__)


async def wind_up(work: Work) -> None:
    """Have every batch of the run cancelled and what is finished kept, within `batch_cancel_wait`.

    What cannot be had in that time stays in the log as an open batch: a resume collects it. Raises Drained and
    StoreError.
    """
    try:
        async with asyncio.timeout(work.settings.batch_cancel_wait):
            await together(_one(work, name) for name in work.state.open_batches)
    except TimeoutError:
        _log.warning("batches are left at their provider", run=work.run, tasks=work.state.open_batches)


async def _one(work: Work, name: str) -> None:
    task = work.pipeline.task(name)
    attempt = work.state.tasks[name].attempt
    try:
        names = work.names(task, attempt)
        rows = await work.off_loop(work.for_each, task, names)
        await BatchMap(work, task, attempt, rows, names).wind_up()
    except StoreError:
        raise
    except PoError as error:
        _log.warning("a batch is left at its provider", run=work.run, task=name, error=error.message)
