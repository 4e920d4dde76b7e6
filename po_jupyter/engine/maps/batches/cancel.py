"""Cancelling the batches of a cancelled run: what is finished at the provider is collected (see `BatchMap.wind_up`)."""

from __future__ import annotations

import asyncio

import structlog

from po_jupyter.engine.maps.batches.batch_map import BatchMap
from po_jupyter.engine.maps.map_state import load_map
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.errors import PoError, StoreError
from po_jupyter.platform.concurrency import gather_or_cancel

_log = structlog.get_logger(__name__)


async def wind_up(parts: MapParts) -> None:
    """Cancel every batch of the run and keep what is finished, within `batch_cancel_wait`.

    What cannot be collected in that time stays in the log as an open batch: a resume collects it. Raises Drained and
    StoreError.
    """
    try:
        async with asyncio.timeout(parts.inputs.settings.batch_cancel_wait):
            await gather_or_cancel(_wind_up_map(parts, name) for name in parts.log.state.open_batches)
    except TimeoutError:
        tasks = parts.log.state.open_batches
        _log.warning("batches are left at their provider", run=parts.log.run, tasks=tasks)


async def _wind_up_map(parts: MapParts, name: str) -> None:
    try:
        state = await load_map(parts, parts.log.pipeline.task(name), parts.log.state.tasks[name].attempt)
        await (await BatchMap.open(state, stopping=True)).wind_up()
    except StoreError:
        raise
    except PoError as error:
        _log.warning("a batch is left at its provider", run=parts.log.run, task=name, error=error.message)
