"""Operators that ask a model, loaded: the list read, the prompts compiled, the items of the first round made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from po_jupyter.engine.maps.definition import definition_hash
from po_jupyter.engine.maps.mixed_rows import CombiningRows
from po_jupyter.engine.maps.operator_code import OperatorCode, source_rows
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.prompt_room import fits_in, models_of, prompt_room
from po_jupyter.engine.maps.row_code import PromptRows, RowCode, load_row_code
from po_jupyter.engine.operators.plans import Plan
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.model.pipeline.pipeline import Task


class AskingOperator(NamedTuple):
    """An operator that asks a model: its expressions, what it asks about, and the items of the first round."""

    code: OperatorCode
    plan: Plan
    items: Sequence[Any]
    rows: RowCode


async def load_operator(parts: MapParts, task: Task, names: Mapping[str, Any]) -> AskingOperator:
    """Read the list of a task with an operator and a prompt. Raises TemplateFailed."""
    rows = await load_row_code(parts, task, names)
    assert isinstance(rows, PromptRows)
    prompt = combining = rows.prompt
    if task.group_by is not None and task.group_by.combine is not None:
        combining = prompt.with_prompt(task.group_by.combine)
        await combining.load()
    code = OperatorCode(task, names, parts.boundary.checkpoint)

    def plan() -> tuple[Plan, Sequence[Any]]:
        source = source_rows(parts.outputs.for_each(task, names), parts.inputs.options.limit)
        fits = fits_in(
            prompt_room(task, models_of(parts.inputs, task)),
            prompt,
            combining,
            names,
            parts.boundary.checkpoint,
        )
        made = code.plan(source, fits)
        return made, made.next_items([])

    made, items = await asyncio.to_thread(plan)
    if made.in_rounds:
        items = list(items)
    elif made.source.path is not None:
        items = OriginRows(items, RowOrigin(made.source.path, made.source.places))
    if combining is prompt:
        return AskingOperator(code, made, items, rows)
    definition = await asyncio.to_thread(definition_hash, parts.inputs, combining.task)
    both = CombiningRows(rows, rows.with_prompt(combining, definition), made.combines)
    return AskingOperator(code, made, items, both)
