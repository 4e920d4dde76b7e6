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


def split_alike(keys: Sequence[str], parts: int) -> list[list[int]]:
    """The positions of `keys` in so many parts, equal keys in the same one: what rows that are alike ask is numbered
    there as in a map without shards. Without equal keys they are neighbours, as in `split`. Equal keys that are more
    than two even parts are shared out all the same: what is all alike would be no work for several otherwise.
    """
    places: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        places.setdefault(key, []).append(position)
    most = -(-len(keys) // parts)
    groups: list[list[int]] = []
    for group in places.values():
        size = most if len(group) > 2 * most else len(group)
        groups += (group[at : at + size] for at in range(0, len(group), size))
    result: list[list[int]] = [[] for _ in range(parts)]
    left, part = len(keys), 0
    for group in groups:
        wanted = -(
            -(left + len(result[part])) // (parts - part)
        )  # an even part of what this one and later ones get
        if result[part] and len(result[part]) + len(group) > wanted and part + 1 < parts:
            part += 1
        result[part] += group
        left -= len(group)
    return [sorted(one) for one in result if one]


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
