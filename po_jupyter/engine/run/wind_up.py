"""Winding up the tasks of a run that ends: what their batches and child runs have finished is collected."""

from __future__ import annotations

import asyncio

import structlog

from po_jupyter.engine.maps.map_loading import load_map
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.errors import PoError, StoreError
from po_jupyter.platform.concurrency import gather_or_cancel

_log = structlog.get_logger(__name__)


async def wind_up(parts: MapParts, *, batches: bool = True) -> None:
    """Cancel every child run of the run, and every batch unless told otherwise, and keep what is finished, within
    `batch_cancel_wait`.

    What cannot be collected in that time stays in the log as open: a resume collects it. Raises Drained and
    StoreError.
    """
    state = parts.log.state
    names = [*(state.open_batches if batches else ()), *state.open_shards]
    try:
        async with asyncio.timeout(parts.inputs.settings.batch_cancel_wait):
            await gather_or_cancel(_wind_up_task(parts, name) for name in names)
    except TimeoutError:
        _log.warning("batches or child runs are left at work", run=parts.log.run, tasks=names)


async def _wind_up_task(parts: MapParts, name: str) -> None:
    task = parts.log.pipeline.task(name)
    try:
        if task.kind == "pipeline":
            from po_jupyter.engine.run.pipeline_task import PipelineTask  # few tasks need it

            await PipelineTask(parts, task, parts.log.state.tasks[name].attempt).wind_up()
            return
        state = await load_map(parts, task, parts.log.state.tasks[name].attempt)
        if parts.log.state.tasks[name].open_shards:
            from po_jupyter.engine.maps.shards.sharded_map import ShardedMap  # few maps need it

            await ShardedMap(state).wind_up()
        else:
            from po_jupyter.engine.maps.batches.batch_map import BatchMap  # few maps need it

            await (await BatchMap.open(state, stopping=True)).wind_up()
    except StoreError:
        raise
    except PoError as error:
        _log.warning("a task is left at work elsewhere", run=parts.log.run, task=name, error=error.message)
