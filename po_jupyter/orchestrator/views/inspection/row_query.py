"""A question about the rows of a map, and how it is answered: which rows, in which order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

RowState = Literal["done", "failed", "running", "pending"]
RowSort = Literal["index", "state", "attempts", "tokens", "cost_usd", "seconds", "output"]
_PATIENCE = 5.0  # s that a search reads
_SORTED = 64  # characters of an output by which rows are sorted


class RowQuery(NamedTuple):
    """Rows of a map in a state, with a text in their input, output, error or label; sorted."""

    task: str
    state: RowState | None = None
    sort: RowSort = "index"
    desc: bool = False
    q: str = ""


class FoundRows(NamedTuple):
    """Indexes in the order of the question. `complete` is false when a search took too long to read all rows."""

    indexes: list[int]
    complete: bool


def search(indexes: Iterable[int], q: str, read: Callable[[list[int]], Iterable[tuple[int, str]]]) -> FoundRows:
    """The rows whose text has `q`, whatever the case; `read` gives the texts of some."""
    wanted, deadline = q.casefold(), time.monotonic() + _PATIENCE
    found: list[int] = []
    for some in _portions(indexes):
        found += [index for index, text in read(some) if wanted in text.casefold()]
        if time.monotonic() > deadline:
            return FoundRows(sorted(found), False)
    return FoundRows(found, True)


def output_order(value: Any) -> tuple[int, float, str]:
    """The place of an output in an order: numbers, then texts and the JSON of the rest, then none."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, int | float):
        return 0, float(value) if abs(value) < 1e300 else 1e300, ""
    return 1, 0.0, as_text(value)[:_SORTED].casefold()


def as_text(value: Any) -> str:
    """A value as it is searched: a text itself, else its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _portions(indexes: Iterable[int], size: int = 1000) -> Iterable[list[int]]:
    portion: list[int] = []
    for index in indexes:
        portion.append(index)
        if len(portion) == size:
            yield portion
            portion = []
    if portion:
        yield portion
