"""One text for equal JSON: what answers and inputs are compared by."""

from __future__ import annotations

import json
from collections.abc import Mapping

from po_jupyter.model.values.json import JsonValue


def canonical(value: JsonValue) -> str:
    """Equal JSON, equal text: whatever the order of its fields, and whether a whole number has a point."""
    text = _dumped(value)
    if ".0" in text or "e+" in text:  # as floats that are whole numbers are written: 1.0, 1e+22
        text = _dumped(_whole(value))
    return text


def _dumped(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _whole(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value
