"""`unnest`: a row for each element."""

from __future__ import annotations

import pytest

from po_jupyter.engine.operators.result_rows import SourceRows
from po_jupyter.engine.operators.unnest import unnest_field, unnest_values


def test_each_element_is_a_row_at_the_place_of_its_own() -> None:
    rows = [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}, {"id": 3, "tags": None}, {"id": 4}]
    rows += [{"id": 5, "tags": [1]}]
    made = unnest_field(SourceRows(rows, "rows", [9, 8, 7, 6, 5]), "tags")
    assert made.values == [{"id": 1, "tags": "a"}, {"id": 1, "tags": "b"}, {"id": 5, "tags": 1}]
    assert made.places == [9, 9, 5]
    assert rows[0] == {"id": 1, "tags": ["a", "b"]}, "the rows of the seed stay as they are"


def test_a_field_within_a_field_is_reached_by_dots() -> None:
    rows = [{"ok": True, "output": {"tags": ["a", "b"], "x": 1}}, {"ok": False, "output": None}]
    made = unnest_field(SourceRows(rows), "output.tags")
    assert [row["output"] for row in made.values] == [{"tags": "a", "x": 1}, {"tags": "b", "x": 1}]


def test_an_expression_gives_the_elements_themselves() -> None:
    made = unnest_values(SourceRows(["a b", "c"]), lambda row, index: row.split())
    assert (made.values, made.places) == (["a", "b", "c"], [0, 0, 1])


def test_text_is_no_list() -> None:
    with pytest.raises(ValueError, match=r"`tags` of row 1 is text, and a list is needed"):
        unnest_field(SourceRows([{"tags": []}, {"tags": "a,b"}]), "tags")


def test_a_field_that_no_row_has_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no row has a field `tag`"):
        unnest_field(SourceRows([{"tags": []}]), "tag")
    assert unnest_field(SourceRows([]), "tag").values == []


def test_a_name_with_dots_in_it_is_one_field() -> None:
    """As `pandas.json_normalize` names columns."""
    made = unnest_field(SourceRows([{"a.b": [1, 2], "a": {"b": [3]}}, {"a": {"b": [4]}}]), "a.b")
    assert made.values == [{"a.b": 1, "a": {"b": [3]}}, {"a.b": 2, "a": {"b": [3]}}, {"a": {"b": 4}}]
