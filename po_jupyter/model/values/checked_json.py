"""The field type of JSON objects that somebody wrote: seeds, configs, schemas, metadata (P4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from po_jupyter.model.values.chunked_json import check_json
from po_jupyter.model.values.json import JsonObject


def _is_json(value: JsonObject) -> JsonObject:
    try:
        # The C encoder is several times faster than a walk; the walk is only for the message.
        check_json(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(_reason_not_json(value)) from None
    return value


def _reason_not_json(root: object) -> str:
    todo: list[tuple[str, object]] = [("", root)]
    seen = 0
    while todo and seen < 10_000_000:
        where, value = todo.pop()
        seen += 1
        if where.count(".") + where.count("[") > 200:
            return "holds values nested deeper than 200 levels"
        if isinstance(value, Mapping):
            for key, child in value.items():
                if not isinstance(key, str):
                    inside = f" in `{where}`" if where else ""
                    return f"the key {key!r:.60}{inside} is not text, so it is not JSON"
                todo.append((f"{where}.{key}" if where else key, child))
        elif isinstance(value, list | tuple):
            todo.extend((f"{where}[{i}]", child) for i, child in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            return f"`{where}` is {value}, which JSON does not know; use null"
        elif isinstance(value, str):
            if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                return f"`{where}` holds half a surrogate pair, which is not text"
        elif not isinstance(value, str | int | float | bool | None):
            return f"`{where}` is a {type(value).__name__}, which is not JSON"
    return "is not JSON"


CheckedJsonObject = Annotated[JsonObject, AfterValidator(_is_json)]
"""A dict that JSON can hold; pydantic refuses another one, naming the place."""
