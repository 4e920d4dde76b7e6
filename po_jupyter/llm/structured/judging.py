"""The time that judging one value by a schema may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SECONDS = 0.5  # of CPU for one small answer
_NODES = 10_000  # parts of a value that a further second is for; an ordinary schema takes a tenth of that
_EVERY = 256  # steps between two looks at the clock


class JudgingOverrun(Exception):
    """Judging was given up: nobody knows whether the value fits."""


class _Clock:
    __slots__ = ("end", "steps")

    def __init__(self, seconds: float) -> None:
        self.steps = 0
        self.end = time.thread_time() + seconds


_clock: ContextVar[_Clock | None] = ContextVar("po_judging", default=None)


def step() -> None:
    """Count a part of a schema that is looked at. Raises JudgingOverrun."""
    clock = _clock.get()
    if clock is None:
        return
    clock.steps += 1
    if clock.steps % _EVERY == 0 and time.thread_time() > clock.end:
        raise JudgingOverrun


@contextmanager
def limited(size: int) -> Iterator[None]:
    """All the judging inside shares one time limit, that of a text or value of `size` parts."""
    if _clock.get() is not None:
        yield
        return
    token = _clock.set(_Clock(SECONDS + size / _NODES))
    try:
        yield
    finally:
        _clock.reset(token)


def size_of(value: object) -> int:
    """The number of parts of a JSON value."""
    parts, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        parts += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return parts
