"""The rows of operators as rows of a map: what their frames show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from po_jupyter.engine.operators.result_rows import ResultRows
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.row_pages import RowOutcome


def operator_page(result: ResultRows, start: int, limit: int | None) -> tuple[list[RowOutcome], int | None]:
    """Rows from `start`, at most `limit`, and the number that the next page starts with."""
    end = len(result.values) if limit is None else min(start + limit, len(result.values))
    return list(_rows(result, start, end)), end if end < len(result.values) else None


def _rows(result: ResultRows, start: int, end: int) -> Iterator[RowOutcome]:
    for index in range(start, end):
        value, place = result.values[index], result.places[index]
        columns = {name: values[index] for name, values in result.columns.items()}
        row: RowOutcome = {
            "index": index, "ok": True, "output": value, "error": None, "usage": None, "reused": False,
        }  # fmt: skip
        if isinstance(place, int):
            row["row"] = place
        else:
            row["rows"] = place
            columns = {**_group_columns(value), **columns}
            row["ok"], row["error"] = value.get("ok", True), value.get("error")
            row["output"] = value.get("output")
        row["columns"] = columns
        yield row


def _group_columns(group: Any) -> JsonObject:
    size = group["size"] if "size" in group else len(group["rows"])
    return {"key": group["key"], "size": size}
