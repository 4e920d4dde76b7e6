"""Patterns of JSON Schemas: regular expressions of a person or a server, matched over text of models.

Some patterns take time that doubles with each letter (`^(a|aa)+$`), and Python's `re` holds the whole process
meanwhile. So they are matched by `regex`, which gives up after a while and lets other threads work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from math import prod
from re import findall
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern

SECONDS = 0.5  # of CPU for all the patterns over one answer
_LARGEST = 100_000
_DATA = frozenset({"const", "enum", "default", "examples"})  # keywords whose values are no schemas
_left: ContextVar[list[float] | None] = ContextVar("po_pattern_time", default=None)


class PatternOverrun(Exception):
    """A pattern was given up: nobody knows whether it matches."""

    def __init__(self, pattern: str, text: str) -> None:
        """`pattern` over `text`."""
        super().__init__(f"the pattern {pattern:.80} was given up after {SECONDS:g} s")
        self.pattern = pattern
        self.text = text


def pattern_problem(schema: object) -> str | None:
    """What is wrong with the first pattern in a JSON Schema that cannot be used, in one line; None: with none."""
    for pattern in patterns_of(schema):
        if (reason := unusable(pattern)) is not None:
            return f"the pattern {pattern!r:.80} cannot be used: {reason}"
    return None


def patterns_of(schema: object) -> Iterator[str]:
    """The patterns in a JSON Schema."""
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, Mapping):
            parts += [value for name, value in part.items() if name not in _DATA]
            if isinstance(pattern := part.get("pattern"), str):
                yield pattern
            if isinstance(named := part.get("patternProperties"), Mapping):
                yield from named


@lru_cache(maxsize=1024)
def unusable(pattern: str) -> str | None:
    """Why a pattern cannot be used, in a few words; None when it can."""
    if _spelled_out(pattern) > _LARGEST:
        return "its repetitions are too large"
    try:
        _compiled(pattern)
    except Exception as error:  # RecursionError and OverflowError too
        return f"{error}"[:200]
    return None


def _spelled_out(pattern: str) -> int:
    """About how long a pattern becomes when its least counts are spelled out, which `regex` does."""
    counts = [int(least) for least in findall(r"\{(\d{1,20})(?:,\d{0,20})?\}", pattern)]
    nested = any(rest.startswith("{") for rest in pattern.split(")")[1:])
    return prod(max(1, count) for count in counts) if nested else sum(counts)


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is found in `text`. Raises PatternOverrun, and `regex.error` for a pattern that is none."""
    compiled = _compiled(pattern)
    left = _left.get()
    if left is None:
        left = [SECONDS]
    if left[0] <= 0:
        raise PatternOverrun(pattern, text)
    began = time.thread_time()
    try:
        return compiled.search(text, timeout=left[0], concurrent=True) is not None
    except TimeoutError:
        left[0] = 0.0
        raise PatternOverrun(pattern, text) from None
    finally:
        left[0] -= time.thread_time() - began


@contextmanager
def one_answer() -> Iterator[None]:
    """All the matches inside share one time limit."""
    if _left.get() is not None:
        yield
        return
    token = _left.set([SECONDS])
    try:
        yield
    finally:
        _left.reset(token)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Pattern[str]:
    import regex  # 50 ms, and hardly any schema has a pattern

    return regex.compile(pattern)
