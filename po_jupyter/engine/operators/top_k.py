"""`top_k`: the rows with the largest values."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from po_jupyter.engine.operators.equality import is_nothing


def best(values: Mapping[int, Any], k: int) -> list[int]:
    """The numbers of the `k` rows with the largest values, the largest first, of equal ones the earlier row; rows
    without a value (null, NaN) come last. Texts that are all numbers, as decimals are in JSON, go by these. Raises
    ValueError where values cannot be compared."""
    there = {index: value for index, value in values.items() if not is_nothing(value)}
    for index, value in there.items():
        if not isinstance(value, int | float | str):
            raise ValueError(f"the value of row {index} is {value!r:.40}, and a number is needed")
    if all(isinstance(value, str) for value in there.values()):
        there = _numbers(there) or there
    if len({isinstance(value, str) for value in there.values()}) > 1:
        raise ValueError("some values are numbers and some are text, which have no order")
    ranked = sorted(
        sorted(there), key=lambda index: there[index], reverse=True
    )  # which keeps the order of equals
    return [*ranked, *sorted(values.keys() - there.keys())][:k]


def _numbers(texts: Mapping[int, str]) -> dict[int, Decimal] | None:
    """The number of each text; None where one is of none. 9 is less than 10, and "9" is not."""
    try:
        numbers = {index: Decimal(text) for index, text in texts.items()}
    except InvalidOperation:
        return None
    return numbers if all(number.is_finite() for number in numbers.values()) else None
