"""Budgets and rows as people give them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from po_jupyter.client.inputs.control_bodies import budget_body, rows_body
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.pipeline import Budget


def test_a_budget_is_dollars_or_limits_by_name() -> None:
    assert budget_body(None) is None
    assert budget_body(5) == budget_body(Decimal(5)) == {"usd": 5.0}
    assert budget_body(Budget(tokens=10)) == {"tokens": 10}
    assert budget_body({"usd": 1}) == {"usd": 1}


@pytest.mark.parametrize("amount", ["a lot", float("nan"), float("inf"), True, [1]])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    """It was an error of Python, or one of JSON."""
    with pytest.raises(InvalidInput, match="a budget is a number of US dollars"):
        budget_body(amount)


def test_rows_are_numbers_of_any_library() -> None:
    numpy = pytest.importorskip("numpy")
    assert rows_body(None) is None
    assert rows_body({"label": numpy.array([3, 17])}) == {"label": [3, 17]}
    assert rows_body({"label": range(2), "more": (n for n in (5,))}) == {"label": [0, 1], "more": [5]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "names no row"),
        ({"label": 3}, "rows of task 'label' are a list of numbers, not 3"),
        ({"label": "3"}, "a list of numbers"),
        ({"label": ["3"]}, "a row of task 'label' is a whole number from 0 on, not '3'"),
        ({"label": [1.5]}, "not 1.5"),
        ({"label": [True]}, "not True"),
    ],
)
def test_what_is_no_row_is_refused_by_its_task(rows: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        rows_body(rows)
