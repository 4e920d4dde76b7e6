"""The estimate of an operator: the items that it asks about when every answer is like a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from po_jupyter.engine.maps.operator_code import OperatorCode, source_rows
from po_jupyter.engine.maps.prompt_room import fits_in, prompt_room
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import ASKS_MODEL


class PlannedOperator(NamedTuple):
    """What a task asks about: `items`, of which there may be `most_calls`, and its rows in the end."""

    items: Sequence[Any]
    most_calls: int
    rows: list[Any]


def plan_operator(
    task: Task,
    rows: Sequence[Any],
    names: Mapping[str, Any],
    models: Iterable[tuple[str, int]],
    answer: Any,
) -> PlannedOperator:
    """Go through the rounds of an operator with `answer` to each question. Raises PoError."""
    code, source = OperatorCode(task, names), source_rows(rows, None)
    if task.kind not in ASKS_MODEL:
        return PlannedOperator([], 0, code.rows(source).values)
    prompt = combining = PromptTask(task)
    if task.group_by is not None and task.group_by.combine is not None:
        combining = prompt.with_prompt(task.group_by.combine)
    plan = code.plan(source, fits_in(prompt_room(task, models), prompt, combining, names, lambda: None))
    items: list[Any] = []
    outcomes: list[JsonObject] = []
    while more := plan.next_items(outcomes):
        items += more
        outcomes += [{"ok": True, "output": answer, "error": None}] * len(more)
        if not plan.in_rounds:
            break
    return PlannedOperator(items, plan.most_calls, plan.expected_result().values)
