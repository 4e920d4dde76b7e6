"""The frames of a notebook, for the form of the panel that starts a run: their names and sizes, and one as a seed.

The panel evaluates these in the kernel that a person chose, as user expressions: nothing comes into the history or the
namespace of the notebook. What they give is shown as `application/vnd.po-jupyter.values+json`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.errors import InvalidSeed, PoError
from po_jupyter.model.values.chunked_json import is_larger_than
from po_jupyter.model.values.json import JsonObject

MIME = "application/vnd.po-jupyter.values+json"
MAX_ROWS = 50_000
MAX_BYTES = 8_000_000  # of the rows as JSON
_SMALLEST_CELL = 5  # bytes: `"":0,`
_MOST_FRAMES = 200
_MOST_COLUMNS = 50  # that are named
_MANY = "`client.submit(pipeline, seed=frame)` in the notebook takes frames of any size."


class LiveValues:
    """Values for the panel, which Jupyter shows as JSON."""

    def __init__(self, values: JsonObject) -> None:
        """`values` are JSON already."""
        self.values = values

    def __repr__(self) -> str:
        """Short: the panel reads the JSON."""
        return "<values for the panel>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> JsonObject:
        return {MIME: self.values, "text/plain": repr(self)}


def frames_in(namespace: Mapping[Any, Any]) -> LiveValues:
    """`{frames: [{name, library, rows, columns, width}]}` of the DataFrames of pandas and polars in a namespace, by
    name; names that begin with `_` are the notebook's own business."""
    frames: list[JsonObject] = []
    names = sorted(name for name in namespace if isinstance(name, str) and not name.startswith("_"))
    for name in names:
        value = namespace[name]
        library = _library_of(value)
        if library is not None and len(frames) < _MOST_FRAMES:
            rows, width = value.shape
            columns = [str(column)[:100] for column in islice(value.columns, _MOST_COLUMNS)]
            frames.append({"name": name, "library": library, "rows": rows, "columns": columns, "width": width})
    return LiveValues({"frames": frames})


def seed_from(namespace: Mapping[str, Any], name: str, field: str) -> LiveValues:
    """`{data, index?}` of a seed whose field `field` has the rows of the frame `name`, as the client sends them; or
    `{error}`, as routes answer it."""
    try:
        frame = namespace.get(name)
        if frame is None or _library_of(frame) is None:
            raise InvalidSeed(
                f"the notebook has no DataFrame {name!r:.60} any more", hint="Look into the kernel again."
            )
        rows, width = frame.shape
        if rows > MAX_ROWS:
            raise InvalidSeed(f"{name} has {rows:,} rows, more than the {MAX_ROWS:,} of a form", hint=_MANY)
        if rows * width * _SMALLEST_CELL > MAX_BYTES:  # before it is converted, which would take far more
            raise _too_large(name)
        seed = seed_of({field: frame}, "seed")
        if is_larger_than(seed.data, MAX_BYTES):
            raise _too_large(name)
    except PoError as error:
        return LiveValues({"error": error.to_json()})
    return LiveValues({"data": dict(seed.data), **({"index": seed.index} if seed.index else {})})


def _too_large(name: str) -> InvalidSeed:
    return InvalidSeed(f"{name} is larger than the {MAX_BYTES // 10**6} MB of a form", hint=_MANY)


def _library_of(value: object) -> str | None:
    """The library whose DataFrame a value is. By its type alone: no code of the notebook runs for it."""
    for library in ("pandas", "polars"):
        frame = getattr(sys.modules.get(library), "DataFrame", None)
        if isinstance(frame, type) and issubclass(type(value), frame):
            return library
    return None
