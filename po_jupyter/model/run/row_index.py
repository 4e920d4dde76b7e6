"""Indexes of a seed's rows: what a table called its rows, kept beside them so that answers come back under the same
labels.

`seed.index` is `{PATH: {"library", "levels": [{"name"?, "type", "values"}]}}`. PATH names the list in `data`, its keys
joined by "/" (`rows`, `tables/left`). Each level has one value for each row; more than one level is a MultiIndex
(`multi` says so of one). `values` may be a reference to a file of rows; a level of type `range` has `range: [start,
stop, step]` instead. Templates and tasks do not see any of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from po_jupyter.errors import InvalidSeed
from po_jupyter.model.run.row_file_ref import MARK, refs_in
from po_jupyter.model.values.json import JsonObject

RANGE = "range"
_LEVELS = 100
_LEFT_BEHIND = re.compile(r"[0-9a-f]{22}:")


def row_path(keys: tuple[str, ...]) -> str:
    """The name of the list below these keys of a seed's data."""
    return "/".join(key.replace("~", "~0").replace("/", "~1") for key in keys)


def keys_of(path: str) -> tuple[str, ...]:
    """The keys that `row_path` joined."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))


def left_behind(path: str, run: str) -> str:
    """The name, in the index of a fork, of a list that is in the seed of the old run only: its maps keep their rows."""
    return path if _LEFT_BEHIND.match(path) else f"{run}:{path}"


def levels_of(index: Mapping[str, Any] | None) -> Iterator[tuple[str, JsonObject]]:
    """The path of the rows and the level, for every level of a seed's `index`."""
    for path, labels in (index or {}).items():
        for level in labels["levels"]:
            yield path, level


def without_values(index: Mapping[str, Any]) -> JsonObject:
    """The index without its labels: names and types, which is what a frame needs besides the labels of its rows."""
    kept = {"name", "type", RANGE, "ordered", "closed", "sides", "categories"}
    return {
        path: {
            **labels,
            "levels": [{k: v for k, v in level.items() if k in kept} for level in labels["levels"]],
        }
        for path, labels in index.items()
    }


def index_problem(data: Mapping[str, Any], index: Mapping[str, Any]) -> str | None:
    """The problem of the index of a seed with that data, or None."""
    for path, labels in index.items():
        count = _count(_value_at(data, keys_of(path)))
        if count is None and not _LEFT_BEHIND.match(path):
            return f"`{path:.80}` is no list in `data`"
        levels = labels.get("levels") if isinstance(labels, dict) else None
        if not isinstance(levels, list) or not 0 < len(levels) <= _LEVELS:
            return f"`{path:.80}` needs `levels`"
        for level in levels:
            size = _size(level)
            if size is None:
                return f"a level of `{path:.80}` is not {{name, type, values}}"
            if count is not None and size != count:
                return f"`{path:.80}` has {size} labels for {count} rows"
    return None


def _value_at(data: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def _count(rows: Any) -> int | None:
    """The number of rows of a list or of a reference to a file; None for anything else."""
    if isinstance(rows, dict) and type(rows.get("count")) is int and MARK in rows:
        return int(rows["count"])
    return len(rows) if isinstance(rows, list) else None


def _size(level: Any) -> int | None:
    """The number of labels of a level; None when it is no level."""
    if not isinstance(level, dict) or not isinstance(level.get("type"), str):
        return None
    if level["type"] != RANGE:
        try:
            list(refs_in({"values": level.get("values")}))
        except InvalidSeed:
            return None
        return _count(level.get("values"))
    bounds = level.get(RANGE)
    if (
        not isinstance(bounds, list)
        or len(bounds) != 3
        or any(type(n) is not int for n in bounds)
        or not bounds[2]
    ):
        return None
    return len(range(*bounds)) if all(abs(n) < 2**63 for n in bounds) else None
