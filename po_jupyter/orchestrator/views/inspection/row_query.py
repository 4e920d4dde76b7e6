"""A question about the rows of a map, and how it is answered: which rows, in which order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

RowState = Literal["done", "failed", "running", "pending"]
RowSort = Literal["index", "state", "attempts", "tokens", "cost_usd", "seconds", "output"]
_PATIENCE = 5.0  # s that a search reads
_PORTION = 1000  # rows that a search reads at once
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SORTED = 64  # characters of an output by which rows are sorted


class RowQuery(NamedTuple):
    """Rows of a map in a state, of a variant, with a text in their input, output, error or label; sorted."""

    task: str
    state: RowState | None = None
    sort: RowSort = "index"
    desc: bool = False
    q: str = ""
    variant: str | None = None


class FoundRows(NamedTuple):
    """Indexes in the order of the question. `complete` is false when a search took too long to read all rows."""

    indexes: list[int]
    complete: bool
    read: int = 0  # rows that the search has read


def search(
    indexes: Sequence[int],
    q: str,
    read: Callable[[list[int]], Iterable[tuple[int, str]]],
    before: FoundRows | None = None,
) -> FoundRows:
    """The rows whose text has `q`, whatever the case; `read` gives the texts of some. It goes on after `before`, which
    the same search found until it stopped."""
    wanted, is_over = q.casefold(), deadline()
    found, at = (list(before.indexes), before.read) if before is not None else ([], 0)
    while at < len(indexes):
        some = list(indexes[at : at + _PORTION])
        found += [index for index, text in read(some) if wanted in text.casefold()]
        at += len(some)
        if is_over():
            break
    return FoundRows(found, at >= len(indexes), at)


def deadline() -> Callable[[], bool]:
    """Whether it has taken too long since now."""
    end = time.monotonic() + _PATIENCE
    return lambda: time.monotonic() > end


def output_order(value: Any) -> tuple[int, float, str]:
    """The place of an output in an order: numbers, then texts and the JSON of the rest, then none."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, int | float):
        return 0, float(value) if abs(value) < 1e300 else 1e300, ""
    return 1, 0.0, _beginning(value, _SORTED).casefold()


def as_text(value: Any) -> str:
    """A value as it is searched: a text itself, else its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _beginning(value: Any, size: int) -> str:
    """The beginning of `as_text`; of a large value no more is made than that."""
    if isinstance(value, str):
        return value[:size]
    text = ""
    for piece in _ENCODER.iterencode(value):
        text += piece[:size]
        if len(text) >= size:
            break
    return text[:size]
