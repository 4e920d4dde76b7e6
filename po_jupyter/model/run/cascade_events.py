"""The data of the event of a cascade that learned its threshold."""

from __future__ import annotations

from typing import TypedDict


class CascadeLearnedData(TypedDict):
    """The threshold of a cascade with a `target`: an answer of the first model whose confidence is at least that is the
    row's. None: every row is for `model`. As in `evals.learned_threshold`, `interval` with a confidence of 0.95."""

    threshold: float | None
    target: float
    model: str
    sampled: int
    sure: int
    agreeing: int
    interval: list[float] | None
