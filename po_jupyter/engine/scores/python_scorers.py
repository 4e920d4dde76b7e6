"""Scorers of packages: Python functions by their entry points of the group `po_jupyter.scorers`.

A scorer is called as `scorer(answer, expected, item)` with JSON values, and gives a number, true or false, or
None where it has nothing to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.errors import InvalidInput
from po_jupyter.evals.metrics import Measured
from po_jupyter.model.pipeline.evals.scores import BUILT_IN
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonValue

GROUP = "po_jupyter.scorers"
PythonScorer = Callable[[Any, Any, Any], Any]
_NOTE = 300  # characters


def scorer_problem(name: str) -> str | None:
    """Why there is no scorer of that name in this interpreter; None when there is one. Nothing is imported."""
    if _found(name) is not None:
        return None
    known = [*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))]
    return (
        f"{name!r} is neither a metric nor a scorer of an installed package (entry points of {GROUP})"
        f"{did_you_mean(name, known)}"
    )


def load_scorer(name: str) -> PythonScorer:
    """The function behind an entry point. Raises InvalidInput when there is none, or when it cannot be imported."""
    entry = _found(name)
    if entry is None:
        raise InvalidInput(f"score: {scorer_problem(name)}")
    try:
        scorer: PythonScorer = entry.load()
    except Exception as error:
        raise InvalidInput(f"the scorer {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(scorer):
        raise InvalidInput(f"the scorer {name!r} is {type(scorer).__name__} and no function")
    return scorer


def call_scorer(scorer: PythonScorer, answer: JsonValue, expected: JsonValue, item: JsonValue) -> Measured:
    """What a scorer says of an answer; what it raises is a note, for the answer is paid."""
    try:
        value = scorer(answer, expected, item)
    except Exception as error:
        lines = (user_traceback(error) or "").strip().splitlines()
        where = f" ({lines[-2].strip()})" if len(lines) > 1 else ""
        return Measured(None, f"{type(error).__name__}: {error}{where}"[:_NOTE])
    if value is None:
        return Measured(None, "the scorer gave nothing")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return Measured(None, f"the scorer gave {value!r:.80}, which is no number")
    return Measured(number) if math.isfinite(number) else Measured(None, f"the scorer gave {number}")


def _found(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)
