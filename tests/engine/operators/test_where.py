"""`where`: which rows stay, and where they are."""

from __future__ import annotations

from po_jupyter.engine.operators.result_rows import SourceRows
from po_jupyter.engine.operators.where import where


def test_kept_rows_know_where_they_are_in_the_seed() -> None:
    source = SourceRows([1, 2, 3, 4], "rows", [7, 5, 3, 1])
    kept = where(source, lambda row, index: row % 2 == 0)
    assert (kept.values, kept.places, kept.path) == ([2, 4], [5, 1], "rows")


def test_of_no_rows_none_are_kept() -> None:
    assert where(SourceRows([]), lambda row, index: True).values == []
