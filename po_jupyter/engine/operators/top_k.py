"""`top_k`: the rows with the largest values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.engine.operators.equality import is_nothing


def best(values: Mapping[int, Any], k: int) -> list[int]:
    """The numbers of the `k` rows with the largest values, the largest first, of equal ones the earlier row; rows
    without a value (null, NaN) come last. Raises ValueError where values cannot be compared."""
    there = {index: value for index, value in values.items() if not is_nothing(value)}
    for index, value in there.items():
        if not isinstance(value, int | float | str):
            raise ValueError(f"the value of row {index} is {value!r:.40}, and a number is needed")
    if len({isinstance(value, str) for value in there.values()}) > 1:
        raise ValueError("some values are numbers and some are text, which have no order")
    ranked = sorted(
        sorted(there), key=lambda index: there[index], reverse=True
    )  # which keeps the order of equals
    return [*ranked, *sorted(values.keys() - there.keys())][:k]
