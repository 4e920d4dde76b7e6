"""Answers beside the rows of the table that was asked, whatever its library and its index are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

from po_jupyter.client.frames import exact_frame, loses_digits, polars_column
from po_jupyter.client.http.payloads import RowJson
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.json import JsonObject

Columns: TypeAlias = dict[str, list[Any]]

ERROR = "error"
RUN = "po_run"  # the attribute of a frame of pandas that has the run's id


def columns_of(pipeline: Pipeline, rows: Sequence[RowJson], count: int) -> Columns:
    """The fields of the answers, in the order of the schema, then `error`; by place, for the first `count` rows.

    An answer that is no object is the column `output`, and a field `error` is `output_error`.
    """
    (task,) = pipeline.tasks
    declared = (task.output or {}).get("properties")
    names: dict[str, None] = dict.fromkeys(declared if isinstance(declared, Mapping) else ())
    cells: list[JsonObject] = [{} for _ in range(count)]
    errors: list[str | None] = [None] * count
    for row in rows:
        place, output = place_of(row), row["output"]
        if row["ok"]:
            cells[place] = dict(output) if isinstance(output, Mapping) else {"output": output}
            names.update(dict.fromkeys(cells[place]))
        else:
            errors[place] = error_of(row)
    if not names:
        names["output"] = None
    fields = {name: [row.get(name) for row in cells] for name in names}
    return {**_renamed(fields, [ERROR]), ERROR: errors}


def place_of(row: RowJson) -> int:
    """Where in the table the row is."""
    return row.get("row", row["index"])


def error_of(row: RowJson) -> str:
    """Why the row failed."""
    return str((row["error"] or {}).get("message") or "failed")


def label_of(table: Any, place: int) -> str:
    """The row at a place as a reader finds it: its label where the table has an index."""
    index = None if _is_polars(table) else getattr(table, "index", None)
    if index is None or callable(index):
        return f"row {place}"
    (label,) = index[[place]].tolist()  # in values of Python, also those in a tuple
    return f"row {place}, {label!r:.60}"


def beside(table: Any, columns: Columns, run: str) -> Any:
    """The table's first rows with the answers' columns behind its own; a list becomes a frame of pandas.

    A column that the table has already keeps its place, and the answer's is called `output_NAME`.
    """
    count = len(columns[ERROR])
    if _is_polars(table):
        return _beside_polars(table, columns, count)
    pandas = _pandas()
    frame = _pandas_frame(pandas, table, count)
    answers = {
        name: pandas.Series(values, index=frame.index, dtype=None if _has_type(values) else object)
        for name, values in _renamed(columns, list(frame.columns)).items()
    }
    # Not `frame[name] = series`, which would join by labels: an index with a label twice, or NaN, must not matter.
    joined = frame.copy()
    for name, series in answers.items():
        joined[name] = series.array
    joined.attrs[RUN] = run
    return joined


def kept(table: Any, places: Sequence[int], run: str) -> Any:
    """The rows of the table at these places, as what it is: a frame, a Series, a list."""
    if _is_polars(table):
        return table[list(places)]
    if not hasattr(table, "iloc"):
        return [table[place] for place in places]
    chosen = table.iloc[list(places)]
    chosen.attrs[RUN] = run
    return chosen


def check_table(verb: str, table: Any) -> None:
    """Raise InvalidInput for what is neither a frame nor a column of pandas or polars, nor a list of rows."""
    is_class = isinstance(table, type)
    is_list = isinstance(table, list | tuple) and not hasattr(table, "_fields")
    is_lazy = _is_polars(table) and not hasattr(table, "to_arrow")  # a LazyFrame, an expression
    if (
        is_class
        or is_lazy
        or not (is_list or _is_polars(table) or (hasattr(table, "iloc") and hasattr(table, "index")))
    ):
        raise InvalidInput(
            f"po.{verb} asks about the rows of a DataFrame, a Series or a list, not {type(table).__name__}",
            hint=_rows_hint(table),
        )


def _rows_hint(table: Any) -> str:
    if hasattr(table, "to_pandas") and hasattr(table, "column_names"):  # a table of Arrow, a Dataset
        return "table.to_pandas() makes a DataFrame of it."
    if hasattr(table, "fetchdf"):
        return "relation.df() makes a DataFrame of it."
    if hasattr(table, "collect"):
        return "frame.collect() makes a DataFrame of it."
    if isinstance(table, Mapping):
        return "pandas.DataFrame(...) makes a table of columns by name; [...] around it makes one row of it."
    if isinstance(table, str | bytes):
        return "[...] around it makes one row of it."
    return "list(...) makes a list of anything that can be gone through."


def _is_polars(table: Any) -> bool:
    return type(table).__module__.partition(".")[0] == "polars"


def _beside_polars(table: Any, columns: Columns, count: int) -> Any:
    polars = import_module("polars")
    frame = table if isinstance(table, polars.DataFrame) else table.to_frame(table.name or "item")
    new = [polars_column(polars, name, values) for name, values in _renamed(columns, frame.columns).items()]
    return frame.head(count).with_columns(new)


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ImportError:
        raise PoError("the result is a table of pandas", hint="Install it here: %pip install pandas") from None


def _pandas_frame(pandas: Any, table: Any, count: int) -> Any:
    if isinstance(table, list | tuple):
        rows = list(table[:count])
        if rows and all(isinstance(row, Mapping) for row in rows):
            return exact_frame(pandas, rows)
        return pandas.DataFrame({"item": pandas.Series(rows, dtype=None if _has_type(rows) else object)})
    if not hasattr(table, "columns"):
        name = "item" if table.name is None else table.name
        table = table.to_frame(name)
        # Of the column ("a", "x") of a frame pandas would make two levels again.
        table.columns = pandas.Index([name], tupleize_cols=False)
    return table.iloc[:count]


def _renamed(columns: Columns, taken: Sequence[Any]) -> Columns:
    """The columns under names that are free."""
    names: set[Any] = set(taken)
    renamed: Columns = {}
    for name, values in columns.items():
        free, n = (name if name not in names else f"output_{name}"), 2
        while free in names:
            free, n = f"output_{name}_{n}", n + 1
        names.add(free)
        renamed[free] = values
    return renamed


def _has_type(values: Sequence[Any]) -> bool:
    """Whether pandas may choose the column's type: not for lists and objects, nor where nothing is in it, nor where it
    would round."""
    return (
        any(value is not None for value in values)
        and not any(isinstance(value, list | Mapping) for value in values)
        and not loses_digits(values)
    )
