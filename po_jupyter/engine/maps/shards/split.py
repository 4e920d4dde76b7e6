"""How the rows of a map are shared out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

T = TypeVar("T")
_AUTO_ROWS = 5_000  # of one shard, where nobody says how many there are
_AUTO_MOST = 8


def shard_count(shards: int | Literal["auto"] | None, rows: int) -> int:
    """The number of child runs for so many rows; below 2 the map works on them itself."""
    if shards == "auto":
        return min(_AUTO_MOST, -(-rows // _AUTO_ROWS))
    return min(shards or 1, rows)


def split(values: Sequence[T], parts: int) -> list[Sequence[T]]:
    """`values` in so many parts of neighbours, whose sizes differ by one at most."""
    size, larger = divmod(len(values), parts)
    result: list[Sequence[T]] = []
    start = 0
    for number in range(parts):
        end = start + size + (number < larger)
        result.append(values[start:end])
        start = end
    return result
