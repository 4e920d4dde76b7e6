"""Searching and sorting rows."""

from __future__ import annotations

import json
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


def test_a_search_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_query, "_PATIENCE", -1.0)
    looked: list[int] = []

    def once(indexes: list[int]) -> Iterable[tuple[int, str]]:
        looked.extend(indexes)
        return read(indexes)

    found = search(range(2500), "row", once)
    while not found.complete:
        found = search(range(2500), "row", once, found)
    assert found.indexes == looked == list(range(2500))


def test_of_a_large_output_only_the_beginning_is_made_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_query, "as_text", lambda value: pytest.fail("the whole was made text"))
    assert output_order(["A" * 10] * 10**5)[2] == json.dumps(["A" * 10] * 10)[:64].casefold()
