"""`top_k` by value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators.top_k import best


def test_the_largest_come_first_and_of_equal_ones_the_earlier() -> None:
    assert best({0: 1, 1: 3, 2: 3.0, 3: 2}, 3) == [1, 2, 3]
    assert best({0: "a", 1: "c", 2: "b"}, 2) == [1, 2]


def test_rows_without_a_value_come_last() -> None:
    assert best({0: None, 1: 1, 2: math.nan, 3: -5}, 3) == [1, 3, 0]


def test_what_has_no_order_is_an_error() -> None:
    with pytest.raises(ValueError, match="have no order"):
        best({0: 1, 1: "1"}, 1)
    with pytest.raises(ValueError, match=r"value of row 1 is \[2\]"):
        best({0: 1, 1: [2]}, 1)


@given(st.lists(st.integers(-3, 3)), st.integers(1, 10))
def test_it_is_a_stable_sort(values: list[int], k: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert best(dict(enumerate(values)), k) == expected


def test_texts_of_numbers_go_by_these() -> None:
    """Decimals of a table are texts in JSON, of which "9" is the largest."""
    assert best({0: "9.50", 1: "10", 2: "-11", 3: None, 4: "10.0"}, 5) == [1, 4, 0, 2, 3]
    assert best({0: "9", 1: "10", 2: "x"}, 3) == [2, 0, 1]
    assert best({0: "9", 1: "10", 2: "inf"}, 3) == [2, 0, 1]
