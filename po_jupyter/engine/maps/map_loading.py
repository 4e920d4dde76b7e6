"""Loading a map: its rows read, its code compiled, and what the log has of it."""

from __future__ import annotations

import asyncio

from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.row_code import load_row_code
from po_jupyter.engine.votes.learned_cascade import LearnedCascade
from po_jupyter.model.pipeline.evals.learned_cascade import learning_step
from po_jupyter.model.pipeline.pipeline import Task


async def load_map(parts: MapParts, task: Task, attempt: int) -> MapState:
    """Read the rows of a map and load its code. Raises TemplateFailed when `for_each` gives no list, StageFailed."""
    names = parts.outputs.names(task, attempt)
    number = parts.history.journal_attempt(task.name, attempt)
    if task.operator is not None:
        from po_jupyter.engine.maps.operator_loading import load_operator  # few maps need it

        operator = await load_operator(parts, task, names)
        return MapState(parts, task, number, operator.items, operator.rows, operator)
    # It may read every row of an earlier map.
    rows = await asyncio.to_thread(parts.outputs.for_each, task, names)
    code = await load_row_code(parts, task, names)
    if task.variants is not None:
        from po_jupyter.engine.maps.variant_rows import load_variants, repeated_rows  # few maps need it

        rows = repeated_rows(rows, len(task.variants), parts.inputs.options.limit)
        code = await load_variants(parts, task, code)
    state = MapState(parts, task, number, rows, code)
    step = learning_step(task)
    if step is not None and parts.inputs.options.model is None:  # that model alone answers then
        decided = parts.log.state.tasks[task.name].cascade
        code.learned = LearnedCascade(task.name, step, state.total, decided)
    return state
