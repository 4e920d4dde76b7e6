"""Fields of a vendor's JSON, read without trust: a value of the wrong type counts as absent."""

from __future__ import annotations

import math
from collections.abc import Mapping

from po_jupyter.model.values.json import JsonObject


def as_text(value: object) -> str:
    """The value if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int:
    """The value as an integer if it is a positive number, else 0."""
    return int(value) if isinstance(value, int | float) and value > 0 and math.isfinite(value) else 0


def as_cost(value: object) -> float | None:
    """The value if it is a number of at least 0, else None."""
    return float(value) if isinstance(value, int | float) and value >= 0 and math.isfinite(value) else None


def mapping_at(value: object, name: str) -> Mapping[str, object]:
    """The mapping under a name, {} when there is none."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def mappings_in(value: object) -> list[JsonObject]:
    """The JSON objects in a list, [] when the value is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
