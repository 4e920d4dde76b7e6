"""Running an operator: what it asks a model about is a map, in rounds where answers decide what comes next, and then
its rows are computed of the answers.

An outcome is named by what was asked (its key), so a worker that takes over goes through the same rounds: what has an
outcome for the same question is not asked again, and what has one for another question is (a part of a group was asked
again, and has another answer now).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from po_jupyter.engine.maps.operator_code import OperatorCode, source_rows
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows
from po_jupyter.engine.replay.row_table import MapOutput
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import draft
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import LogStore

if TYPE_CHECKING:
    from po_jupyter.engine.maps.map_state import MapState


async def compute_operator(parts: MapParts, task: Task, attempt: int) -> JsonObject:
    """The rows of an operator that asks no model, for the checkpoint. Raises TemplateFailed."""
    names = parts.outputs.names(task, attempt)

    def compute() -> tuple[SourceRows, ResultRows]:
        source = source_rows(parts.outputs.for_each(task, names), parts.inputs.options.limit)
        return source, OperatorCode(task, names, parts.boundary.checkpoint).rows(source)

    source, result = await asyncio.to_thread(compute)
    total = len(source.values)
    started = draft("map.started", task.name, total=total, stage="computing")
    if source.path is not None:
        started["data"]["of"] = source.path
    parts.log.emit(started)
    progress = draft("map.progress", task.name, done=total, failed=0, in_flight=0, reused=0, usage={})
    progress["data"].update(_result_counts(task, result, source))
    parts.log.emit(progress)
    return result.to_json()


async def ask_in_rounds(state: MapState, ask: Callable[[], Awaitable[None]]) -> None:
    """Have the rows of a map asked about, round by round: `ask` works on those that are open."""
    operator = state.operator
    assert operator is not None
    recorded: Mapping[int, str | None] = {}
    if operator.plan.in_rounds and state.table:
        log = state.parts.log
        recorded = await asyncio.to_thread(recorded_keys, log.store, log.run, state.task.name)
        state.reopen(_asked_otherwise(state, recorded, 0))
    while True:
        await ask()
        if not operator.plan.in_rounds or state.error is not None or state.lacks_outcomes:
            return
        await state.flush()
        known = state.total
        items = await asyncio.to_thread(operator.plan.next_items, outcomes_of(state))
        if not items:
            return
        state.extend(items)
        state.reopen(_asked_otherwise(state, recorded, known))


async def operator_result(state: MapState) -> JsonObject:
    """The rows that the outcomes of a map make, for the checkpoint. Raises TemplateFailed."""
    operator = state.operator
    assert operator is not None
    await state.flush()
    result = await asyncio.to_thread(operator.code.result, operator.plan, outcomes_of(state))
    state.report_result(_result_counts(state.task, result, operator.plan.source))
    return result.to_json()


def _result_counts(task: Task, result: ResultRows, source: SourceRows) -> JsonObject:
    """How many of its rows an operator took, or made of them, as `map.progress` has it."""
    verb = "kept" if task.operator in ("where", "distinct", "top_k") else "made"
    return {verb: len(result.values), "of": len(source.values)}


def outcomes_of(state: MapState) -> MapOutput:
    """The outcomes of a map's rows, read when they are used."""
    log = state.parts.log
    return MapOutput(log.store, log.run, state.task.name, state.table, state.total)


def recorded_keys(store: LogStore, run: str, task: str) -> dict[int, str | None]:
    """The key of the newest outcome of each row; None for one that came without. Blocks on the store."""
    keys: dict[int, str | None] = {}
    for record in store.records(run):
        for item in record["items"]:
            if item["task"] == task:
                keys[item["index"]] = item.get("key")
    return keys


def _asked_otherwise(state: MapState, recorded: Mapping[int, str | None], start: int) -> list[int]:
    """Rows from `start` whose outcome is that of another question."""
    return [
        index
        for index in range(start, state.total)
        if index in state.table
        and (key := recorded.get(index)) is not None
        and key != state.code.key(state.row(index))
    ]
