"""The numbers of rows that an operator took from its list, or made of it."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class OperatorCounts(TypedDict):
    """In the last `map.progress` of an operator: how many rows of its list (`of`) it `kept`, or `made` of them.
    `alone`: rows that the first model of a cascade answered without the second, by the threshold that it learned."""

    kept: NotRequired[int]
    made: NotRequired[int]
    of: NotRequired[int]
    alone: NotRequired[int]
