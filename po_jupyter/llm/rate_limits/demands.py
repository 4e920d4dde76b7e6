"""What one program used and needs of the settings' limits, where several of them share the limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias


class LimitDemand(NamedTuple):
    """Of one limit: what the calls of the trailing window `used` (or how many are in flight), what those that wait need
    (`queued`, at most the limit), and what the largest of those takes that are next."""

    used: int
    queued: int
    next: int


# By key (a provider or a model) and kind.
Shares: TypeAlias = Mapping[tuple[str, str], int]
Demands: TypeAlias = Mapping[tuple[str, str], LimitDemand]


def add_up(flows: Iterable[Iterable[int]], limit: int) -> tuple[int, int]:
    """`queued` and `next` of what the calls of each flow take. No more is looked at than makes the limit full."""
    queued = largest = 0
    for flow in flows:
        is_next = True
        for amount in flow:
            if is_next:
                largest = max(largest, min(amount, limit))
            is_next = False
            queued += amount
            if queued >= limit:
                break
    return min(queued, limit), largest
