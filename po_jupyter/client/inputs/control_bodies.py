"""Budgets and rows as the bodies of requests have them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.model.pipeline.pipeline import Budget

BudgetInput: TypeAlias = "float | Budget | Mapping[str, object]"  # US dollars, or limits by name


def rows_body(rows: Mapping[str, Iterable[int]] | None) -> dict[str, list[int]] | None:
    """Rows by map. Raises InvalidInput for none at all, and for what is no number of a row."""
    if rows is None:
        return None
    if not rows:
        raise InvalidInput("`rows` names no row", hint='Rows by task: {"label": [3, 17]}.')
    return {task: row_numbers(task, some) for task, some in rows.items()}


def row_numbers(task: str, rows: Iterable[object]) -> list[int]:
    """Numbers of rows, of numpy too. Raises InvalidInput for anything else."""
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise InvalidInput(
            f"rows of task {task!r} are a list of numbers, not {rows!r:.40}", hint='{"label": [3, 17]}'
        )
    numbers: list[int] = []
    for row in rows:
        if isinstance(row, bool) or not hasattr(row, "__index__"):
            raise InvalidInput(f"a row of task {task!r} is a whole number from 0 on, not {row!r:.40}")
        numbers.append(operator.index(row))
    return numbers


def budget_body(budget: BudgetInput | None) -> JsonObject | None:
    """A budget as the body of a request has it. Raises InvalidInput for what is no amount of money."""
    if budget is None:
        return None
    if isinstance(budget, Mapping):
        return dict(budget)
    if not isinstance(budget, int | float):
        from po_jupyter.model.pipeline.pipeline import Budget  # slow to import, and few have one

        if isinstance(budget, Budget):
            return budget.model_dump(mode="json", exclude_none=True)
    try:
        usd = float(budget)
    except (TypeError, ValueError):
        usd = math.nan
    if not math.isfinite(usd) or isinstance(budget, bool):
        raise InvalidInput(
            f"a budget is a number of US dollars, or a Budget, not {budget!r:.40}",
            hint="budget=1.5, budget={'tokens': 50_000}",
        )
    return {"usd": usd}
