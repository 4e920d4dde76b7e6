"""The rows that an operator without a prompt made of its list, as its table shows them: they have no calls."""

from __future__ import annotations

from collections.abc import Sequence

from po_jupyter.engine.operators.result_rows import ResultRows
from po_jupyter.orchestrator.views.inspection.row_query import (
    FoundRows,
    RowQuery,
    as_text,
    output_order,
    search,
)
from po_jupyter.orchestrator.views.inspection.rows import SHOWN, TableRow, clip
from po_jupyter.orchestrator.views.operator_rows import operator_page


class MadeRows:
    """The rows of one operator."""

    def __init__(self, made: ResultRows) -> None:
        """As its output has them."""
        self._made = made
        self.total = len(made.values)
        self.rows_of = made.path

    def find(self, query: RowQuery) -> FoundRows:
        """The rows that a query is about, in its order. All are done."""
        indexes: Sequence[int] = range(self.total) if query.state in (None, "done") else ()
        found = FoundRows(list(indexes), True)
        if query.q:
            found = search(indexes, query.q, lambda some: ((i, as_text(self._made.values[i])) for i in some))
        if query.sort == "output":
            found.indexes.sort(key=lambda index: output_order(self._made.values[index]), reverse=query.desc)
        elif query.desc:
            found.indexes.reverse()
        return found

    def rows(self, indexes: Sequence[int], limit: int = SHOWN) -> list[TableRow]:
        """These rows, in that order, with at most `limit` characters of each value."""
        return [self._row(index, limit) for index in indexes]

    def _row(self, index: int, limit: int) -> TableRow:
        (made,), _ = operator_page(self._made, index, 1)
        output, cut = clip(made["output"], limit)
        row: TableRow = {
            "index": index, "state": "done" if made["ok"] else "failed", "input": None, "output": output,
            "error": made["error"], "attempts": 0, "tokens": 0, "cost_usd": 0.0, "seconds": 0.0, "model": None,
            "flags": [], "clipped": cut,
        }  # fmt: skip
        if "row" in made:
            row["row"] = made["row"]
        if "rows" in made:
            row["rows"] = made["rows"]
        row["columns"] = made.get("columns", {})
        return row
