"""`where`: the rows for which something is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected


def where(source: SourceRows, holds: Callable[[Any, int], Any]) -> ResultRows:
    """The rows for which `holds(row, number)` is true, in their order."""
    return selected(source, [index for index, value in enumerate(source.values) if holds(value, index)])
