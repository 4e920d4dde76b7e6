"""`distinct`: the first of rows that are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from po_jupyter.engine.operators.equality import KeyOf, loose_key
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected


def distinct(source: SourceRows, value: Callable[[Any, int], Any], key_of: KeyOf = loose_key) -> ResultRows:
    """The first row of each key of `value(row, number)`; the column `count` says how many rows had it.

    `key_of` decides what is the same. Raises ValueError for a value that is no JSON.
    """
    first: dict[str, int] = {}
    counts: dict[str, int] = {}
    for index, row in enumerate(source.values):
        key = key_of(value(row, index))
        first.setdefault(key, index)
        counts[key] = counts.get(key, 0) + 1
    return selected(source, list(first.values()), count=list(counts.values()))
