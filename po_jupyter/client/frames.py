"""Frames of a map's rows, of pandas and of polars, under the labels of the table that was the seed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, Literal

from po_jupyter.client.http.payloads import ProvenanceJson, RowJson
from po_jupyter.client.inputs.row_labels import label_columns, pandas_index
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.values.json import JsonObject

# The columns behind the fields of an output.
_TAIL = ("ok", "error", "input_tokens", "output_tokens", "cost", "cached", "unknown")
_PROVENANCE: tuple[Literal["model", "prompt_hash", "asked_at", "attempt", "reused_from"], ...] = (
    "model", "prompt_hash", "asked_at", "attempt", "reused_from",
)  # fmt: skip
_EXACT = 2**53
_log = logging.getLogger("po_jupyter")


def frame_library(name: str) -> Any:
    """The module of `pandas` or `polars`. InvalidInput for another, PoError where it is not installed."""
    if name not in ("pandas", "polars"):
        raise InvalidInput(f"run.frame() makes frames of pandas or polars, not {name!r:.40}")
    try:
        return import_module(name)
    except ImportError:
        raise PoError(f"run.frame() needs {name}", hint=f"Install it here: %pip install {name}") from None


def pandas_frame(pandas: Any, rows: list[RowJson], index: JsonObject | None) -> Any:
    """The rows as a frame of pandas. `index` is what the seed's index is made of, None without one."""
    cells = [row_cells(row) for row in rows]
    frame = exact_frame(pandas, cells) if cells else pandas.DataFrame(columns=[*_TAIL])
    places = _places(rows)
    if index is not None and all("label" in row for row in rows):
        frame.index = pandas_index(index, [row.get("label") for row in rows], places)
        if not frame.index.is_unique and "variant" not in rows[0]:
            # Not a warning of Python: a frame like that is no mistake, joining it is.
            _log.warning(
                "the index of these rows has labels more than once, and join() puts each answer beside every row "
                "of its label; pandas.concat([df, run.frame(...)], axis=1) goes row by row once the map is done"
            )
    elif places != list(range(len(places))):  # else the frame numbers its rows itself
        frame.index = pandas.Index(places, dtype="int64")
    return frame


def exact_frame(pandas: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    """A frame of pandas in which whole numbers keep their digits."""
    frame = pandas.DataFrame(rows)
    for name in frame.columns[frame.dtypes == "float64"]:
        values = [row.get(name) for row in rows]
        if loses_digits(values):
            frame[name] = pandas.Series(values, dtype=object)
    return frame


def loses_digits(values: Sequence[Any]) -> bool:
    """Whether pandas would round a whole number among these: in a column that is not of whole numbers alone they become
    floats, which have 53 bits."""
    large = any(type(value) is int and abs(value) > _EXACT for value in values)
    return large and not all(type(value) is int for value in values)


def polars_frame(polars: Any, rows: list[RowJson], index: JsonObject | None) -> Any:
    """The rows as a frame of polars, whose first columns are the labels."""
    if index is not None and all("label" in row for row in rows):
        labels = label_columns(index, [row.get("label") for row in rows])
        columns = [polars_column(polars, name, values) for name, values in labels.items()]
    else:  # of the type that with_row_index() has, so that the two join
        columns = [polars.Series("index", _places(rows), dtype=polars.get_index_type())]
    label_names = {column.name for column in columns}
    cells = [row_cells(row, label_names) for row in rows]
    # A row without answer has fewer fields, and models mix numbers with text: all rows decide about the columns.
    names = list(dict.fromkeys(name for row in cells for name in row)) or list(_TAIL)
    columns = [column.rename(_free_name(column.name, names)) for column in columns]
    columns += [polars_column(polars, name, [row.get(name) for row in cells]) for name in names]
    return polars.DataFrame(columns)


def _free_name(label: str, names: Sequence[str]) -> str:
    """The name of a column of labels, which is that of an index and may be one of ours: `error`."""
    return label if label not in names else _free_name(f"index_{label}", names)


def polars_column(polars: Any, name: str, values: Sequence[Any]) -> Any:
    """A column of polars with all of the values: as text where the type that it finds for them would lose some.

    It makes null of a number among objects and of one that has more than 128 bits, and rounds whole numbers among
    others.
    """
    try:
        column = polars.Series(name, values, strict=False)
    except (polars.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        pass  # of labels: moments with and without a zone
    else:
        kinds = {type(value) for value in values if value is not None}
        if kinds in ({str}, {bool}, {float}) or all(map(_is_kept, values, column.to_list())):
            return column
    return polars.Series(name, [None if value is None else _text_of(value) for value in values])


def _is_kept(value: Any, cell: Any) -> bool:
    """Whether a cell has all that its value has; a struct has the fields of the other rows too, and a column of texts
    numbers as text."""
    if isinstance(value, Mapping):
        return isinstance(cell, Mapping) and all(
            _is_kept(inner, cell.get(name)) for name, inner in value.items()
        )
    if isinstance(value, list | tuple):
        return isinstance(cell, list | tuple) and len(cell) == len(value) and all(map(_is_kept, value, cell))
    if isinstance(cell, str) and not isinstance(value, str):
        return cell == _text_of(value)
    return bool(cell == value or cell is value or value != value)  # which NaN is


def _text_of(value: Any) -> str:
    if isinstance(value, bool | int | float | list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).encode("utf-8", "replace").decode()  # half a surrogate pair is no text to polars


def with_provenance(rows: list[RowJson], provenance: Iterable[ProvenanceJson]) -> list[RowJson]:
    """The rows with where each is from; one that came in between has none yet."""
    by_index = {source["index"]: source for source in provenance}
    return [{**row, "provenance": by_index.get(row["index"])} for row in rows]


def _provenance_cells(source: ProvenanceJson | None) -> JsonObject:
    cells: JsonObject = {name: source[name] if source is not None else None for name in _PROVENANCE}
    if cells["asked_at"] is not None:
        cells["asked_at"] = datetime.fromisoformat(cells["asked_at"])
    return cells


def _places(rows: list[RowJson]) -> list[int]:
    """Where the rows are in the list of the seed that they are from, or else in the map."""
    if all("row" in row for row in rows):
        return [row["row"] for row in rows]
    return [row["index"] for row in rows]


def row_cells(row: RowJson, label_names: set[str] | None = None) -> JsonObject:
    """A row of a map as the cells of a frame's row."""
    output, error = row.get("output"), row.get("error")
    fields = dict(output) if isinstance(output, Mapping) else ({} if output is None else {"output": output})
    if "columns" in row:
        return _operator_cells(row, fields, label_names or set())
    usage = row.get("usage") or {}
    tail: JsonObject = {
        "ok": row["ok"],
        "error": error.get("message") if isinstance(error, Mapping) else error,
        "input_tokens": usage.get("input_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
        "cost": usage.get("cost", 0.0),  # a row without a call costs nothing; None is a price that nobody knows
        "cached": usage.get("cached_calls", 0),
        "unknown": usage.get("unknown", 0),
    }
    if "agreement" in row:
        tail |= {"agreement": row["agreement"], "votes": row["votes"]}
    if "scores" in row:
        tail |= {f"score_{name}": value for name, value in row["scores"]["values"].items()}
    if "review" in row:
        tail |= row["review"]
    if "provenance" in row:
        tail |= _provenance_cells(row["provenance"])
    head: JsonObject = {"variant": row["variant"]} if "variant" in row else {}
    return {**head, **_renamed(fields, {"index", *head, *tail, *(label_names or ())}), **tail}


def _operator_cells(row: RowJson, fields: JsonObject, label_names: set[str]) -> JsonObject:
    """A row that an operator made: of a group its key first, of a pair the fields of both sides."""
    columns = row.get("columns") or {}
    if "rows" in row:
        error = row.get("error")
        tail: JsonObject = {"rows": row["rows"], "ok": row["ok"]}
        tail["error"] = error.get("message") if isinstance(error, Mapping) else error
        return {**columns, **_renamed(fields, {"index", *columns, *tail, *label_names}), **tail}
    if fields.keys() == {"left", "right"} and "right_row" in columns:
        fields = {
            (f"{side}_{name}" if name else side): value
            for side in ("left", "right")
            for name, value in (
                fields[side].items() if isinstance(fields[side], Mapping) else [("", fields[side])]
            )
        }
    return {**_renamed(fields, {"index", *columns, *label_names}), **columns}


def _renamed(fields: JsonObject, ours: set[str]) -> JsonObject:
    """Fields called like a column of ours keep their place under a name of their own, which no other field has."""

    def is_taken(name: str) -> bool:
        other = name.removeprefix("output_")
        return name in ours or (other != name and other in fields and is_taken(other))

    return {(f"output_{name}" if is_taken(name) else name): value for name, value in fields.items()}
