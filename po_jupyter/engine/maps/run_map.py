"""Running a map: outcomes of earlier runs first, then the other rows one by one, in batches of the provider, or
in child runs."""

from __future__ import annotations

from functools import partial

from po_jupyter.engine.maps.failure_reasons import add_commonest_reason
from po_jupyter.engine.maps.live_map import LiveMap
from po_jupyter.engine.maps.map_loading import load_map
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.reuse import reuse_outcomes
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject


async def run_map(parts: MapParts, task: Task, attempt: int) -> JsonObject:
    """Run every row that has no outcome yet; what stands for the output in the checkpoint: a marker, or the rows of an
    operator.

    Raises ThresholdExceeded when more rows failed than allowed, or all of them; RowsLeft when a resume named rows and
    others have no outcome; BudgetExceeded, or ModelKeyError (no further row could do better); finished rows are kept.
    Raises TemplateFailed when `for_each` gives no list.
    """
    if task.kind == "operator":
        from po_jupyter.engine.maps.operator_map import compute_operator  # few pipelines need it

        return await compute_operator(parts, task, attempt)
    state = await load_map(parts, task, attempt)
    state.start()
    if state.operator is None:
        await _ask(state)
    else:
        from po_jupyter.engine.maps.operator_map import ask_in_rounds, operator_result

        await ask_in_rounds(state, partial(_ask, state))
    state.judge()
    await add_commonest_reason(state)
    marker = state.finish()
    return marker if state.operator is None else await operator_result(state)


async def _ask(state: MapState) -> None:
    """Take what earlier runs have for the open rows, and work on the others."""
    if state.error is None and state.remaining > 0 and not state.parts.inputs.is_child:
        await reuse_outcomes(state)  # for child runs their parent's map has done it
    try:
        await _run_rows(state)
    finally:
        state.report_progress()


async def _run_rows(state: MapState) -> None:
    if state.task.mode == "batch":
        from po_jupyter.engine.maps.batches.batch_map import BatchMap  # few maps need it

        await (await BatchMap.open(state)).run()
    elif state.task.shards is not None or state.parts.log.state.tasks[state.task.name].open_shards:
        from po_jupyter.engine.maps.shards.sharded_map import ShardedMap  # few maps need it

        await ShardedMap(state).run()
    else:
        await LiveMap(state).run()
