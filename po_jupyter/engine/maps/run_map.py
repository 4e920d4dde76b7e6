"""Running a map: its rows are read, and asked one by one or in batches of the provider."""

from __future__ import annotations

import asyncio
from typing import Any

from po_jupyter.engine.maps.map import Map
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.model.pipeline.pipeline import Task


async def run_map(parts: MapParts, task: Task, attempt: int) -> dict[str, Any]:
    """Run every row that has no outcome yet; the marker that stands for the output in the checkpoint.

    Raises ThresholdExceeded when more rows failed than allowed, BudgetExceeded, or ModelKeyError (no further
    row could do better); finished rows are kept. Raises TemplateFailed when `for_each` gives no list.
    """
    names = parts.outputs.names(task, attempt)
    rows = await asyncio.to_thread(
        parts.outputs.for_each, task, names
    )  # it may read every row of an earlier map
    if task.mode == "batch":
        from po_jupyter.engine.maps.batches.batch_map import BatchMap

        return await BatchMap(parts, task, attempt, rows, names).run()
    return await Map(parts, task, attempt, rows, names).run()
