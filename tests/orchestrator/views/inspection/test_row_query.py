"""Searching and sorting rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from po_jupyter.orchestrator.views.inspection import row_query
from po_jupyter.orchestrator.views.inspection.row_query import output_order, search


def read(indexes: list[int]) -> Iterable[tuple[int, str]]:
    return [(index, f"Row {index}") for index in indexes]


def test_a_search_finds_whatever_the_case() -> None:
    assert search(range(3000), "ROW 299", read).indexes == [299, *range(2990, 3000)]


def test_a_search_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_query, "_PATIENCE", -1.0)
    found = search(range(3000), "row", read)
    assert (len(found.indexes), found.complete) == (1000, False)


def test_outputs_are_ordered_numbers_first_and_none_last() -> None:
    values: list[Any] = [None, "b", 10, {"a": 1}, "A", 2.5, True, 10**400]
    assert sorted(values, key=output_order) == [True, 2.5, 10, 10**400, "A", "b", {"a": 1}, None]
