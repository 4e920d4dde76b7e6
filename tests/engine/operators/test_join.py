"""`join`: which pairs there are."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators.join import pairs
from po_jupyter.engine.operators.result_rows import SourceRows


def by(row: Any, index: int) -> Any:
    return row


def test_rows_with_equal_keys_are_pairs_and_null_is_equal_to_nothing() -> None:
    left = SourceRows([1, "1", None, math.nan, True, "é"], "rows", [10, 11, 12, 13, 14, 15])
    right = SourceRows([1.0, "1", None, math.nan, True, "e\u0301", 1])
    made = pairs(left, right, (by, by), None, 100)
    found = list(zip(made.rows.places or (), made.right_rows, strict=True))
    assert found == [(10, 0), (10, 6), (11, 1), (14, 4), (15, 5)]
    assert made.rows.values[0] == {"left": 1, "right": 1.0}


def test_without_a_key_every_pair_is_looked_at() -> None:
    made = pairs(SourceRows([1, 2]), SourceRows([1, 2]), None, lambda pair: pair["left"] < pair["right"], 100)
    assert made.rows.values == [{"left": 1, "right": 2}]


def test_too_many_pairs_are_an_error_before_anything_is_asked() -> None:
    with pytest.raises(ValueError, match="more than 3 pairs"):
        pairs(SourceRows([1, 2]), SourceRows([1, 2]), None, None, 3)


def test_an_empty_list_has_no_pairs() -> None:
    assert pairs(SourceRows([]), SourceRows([1]), (by, by), None, 1).rows.values == []
    assert pairs(SourceRows([1]), SourceRows([]), None, None, 1).rows.values == []


@given(st.lists(st.integers(0, 4), max_size=8), st.lists(st.integers(0, 4), max_size=8))
def test_it_is_the_product_without_what_differs(left: list[int], right: list[int]) -> None:
    made = pairs(SourceRows(left), SourceRows(right), (by, by), None, 1000)
    expected = [(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if a == b]
    assert list(zip(made.rows.places or (), made.right_rows, strict=True)) == expected
