"""Row numbers as spans, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.model.run.row_spans import format_spans, parse_spans


@given(st.sets(st.integers(0, 300)))
def test_spans(rows: set[int]) -> None:
    assert list(parse_spans(format_spans(sorted(rows)))) == sorted(rows)


def test_neighbours_are_one_span() -> None:
    assert format_spans([0, 1, 2, 7, 9, 10]) == "0-2,7,9-10"
