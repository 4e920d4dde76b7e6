"""`distinct`: the first of each."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators.distinct import distinct
from po_jupyter.engine.operators.equality import exact_key
from po_jupyter.engine.operators.result_rows import SourceRows


def test_the_first_of_each_stays_and_says_how_many_there_were() -> None:
    source = SourceRows(["Ada", "bob", " ADA ", "ada", 1, "1", True, None, math.nan, math.nan], "rows")
    found = distinct(source, lambda row, index: row)
    assert found.places == [0, 1, 4, 5, 6, 7, 8]
    assert found.columns["count"] == [3, 1, 1, 1, 1, 1, 2]


def test_another_equality_can_be_given() -> None:
    found = distinct(SourceRows(["a", "A"]), lambda row, index: row, exact_key)
    assert found.values == ["a", "A"]


@given(st.lists(st.integers(0, 5)))
def test_it_is_as_a_dict_has_it(values: list[int]) -> None:
    assert distinct(SourceRows(values), lambda row, index: row).values == list(dict.fromkeys(values))
