"""What a row is joined and judged by when two runs are compared: digests, for 100,000 rows are many values."""

from __future__ import annotations

from typing import Any, NamedTuple

from po_jupyter.model.values.canonical import canonical
from po_jupyter.model.values.digests import short_digest


class RowContent(NamedTuple):
    """What a row is joined and judged by: its state, and digests of its input (None: not known) and its output.
    `unreadable`: it has an output, which the log does not give any more; `variant` answered, where that is compared."""

    state: str
    input: str | None
    output: str | None
    unreadable: bool = False
    variant: str | None = None


def digest_of(value: Any) -> str:
    """The same for values that are the same JSON, whatever the order of their fields."""
    return short_digest(canonical(value))
