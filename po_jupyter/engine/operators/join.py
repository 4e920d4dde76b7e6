"""`join`: pairs of the rows of two lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from po_jupyter.engine.operators.equality import exact_key, is_nothing
from po_jupyter.engine.operators.result_rows import SourceRows

KeyValue = Callable[[Any, int], Any]


class JoinedPairs(NamedTuple):
    """Pairs as rows `{left, right}` at the places of their left rows; `right_rows` are the places of the others."""

    rows: SourceRows
    right_rows: list[int]


def pairs(
    left: SourceRows,
    right: SourceRows,
    keys: tuple[KeyValue, KeyValue] | None,
    holds: Callable[[Any], Any] | None,
    most: int,
) -> JoinedPairs:
    """The pairs in the order of the left rows, then of the right ones.

    `keys` are of a left and of a right row: pairs have equal ones, and null is equal to nothing. `holds(pair)` keeps
    some. Raises ValueError for more than `most`.
    """
    values: list[Any] = []
    places: list[int] = []
    right_rows: list[int] = []
    for i, j in _candidates(left, right, keys):
        pair = {"left": left.values[i], "right": right.values[j]}
        if holds is not None and not holds(pair):
            continue
        if len(values) == most:
            raise ValueError(
                f"more than {most:,} pairs are left (`max_pairs`); a `key` or a `where` leaves fewer"
            )
        values.append(pair)
        places.append(left.place(i))
        right_rows.append(right.place(j))
    return JoinedPairs(SourceRows(values, left.path, places), right_rows)


def _candidates(
    left: SourceRows, right: SourceRows, keys: tuple[KeyValue, KeyValue] | None
) -> Iterator[tuple[int, int]]:
    if keys is None:
        for i in range(len(left.values)):
            for j in range(len(right.values)):
                yield i, j
        return
    left_key, right_key = keys
    blocks: dict[str, list[int]] = {}
    for j, row in enumerate(right.values):
        value = right_key(row, j)
        if not is_nothing(value):
            blocks.setdefault(exact_key(value), []).append(j)
    for i, row in enumerate(left.values):
        value = left_key(row, i)
        for j in () if is_nothing(value) else blocks.get(exact_key(value), ()):
            yield i, j
