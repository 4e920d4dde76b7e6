"""What a cancelled run does with its batches: see `BatchMap.wind_up`."""

from __future__ import annotations

import asyncio

import structlog

from po_jupyter.engine.maps.batches.batch_map import BatchMap
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.errors import PoError, StoreError
from po_jupyter.platform.concurrency import gather_or_cancel

_log = structlog.get_logger(__name__)


async def wind_up(parts: MapParts) -> None:
    """Have every batch of the run cancelled and what is finished kept, within `batch_cancel_wait`.

    What cannot be had in that time stays in the log as an open batch: a resume collects it. Raises Drained and
    StoreError.
    """
    try:
        async with asyncio.timeout(parts.inputs.settings.batch_cancel_wait):
            await gather_or_cancel(_one(parts, name) for name in parts.log.state.open_batches)
    except TimeoutError:
        _log.warning(
            "batches are left at their provider", run=parts.log.run, tasks=parts.log.state.open_batches
        )


async def _one(parts: MapParts, name: str) -> None:
    task = parts.log.pipeline.task(name)
    attempt = parts.log.state.tasks[name].attempt
    try:
        names = parts.outputs.names(task, attempt)
        rows = await asyncio.to_thread(parts.outputs.for_each, task, names)
        await BatchMap(parts, task, attempt, rows, names).wind_up()
    except StoreError:
        raise
    except PoError as error:
        _log.warning("a batch is left at its provider", run=parts.log.run, task=name, error=error.message)
