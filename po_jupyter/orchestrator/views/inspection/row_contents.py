"""What a row is joined and judged by when two runs are compared: digests, for 100,000 rows are many values."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from po_jupyter.model.values.digests import short_digest


class RowContent(NamedTuple):
    """What a row is joined and judged by: its state, and digests of its input (None: not known) and its output, without
    a field `confidence`: how sure an answer is differs from call to call, and is no part of what it says.
    `unreadable`: it has an output, which the log does not give any more."""

    state: str
    input: str | None
    output: str | None
    unreadable: bool = False


def digest_of(value: Any) -> str:
    """The same for values that are the same JSON, whatever the order of their fields."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return short_digest(text)
