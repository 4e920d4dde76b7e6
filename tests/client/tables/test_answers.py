"""Answers stand beside the row that they are about, whatever the table's index and columns are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from po_jupyter.client.http.payloads import RowJson
from po_jupyter.client.tables.answers import beside, check_table, columns_of, kept, label_of
from po_jupyter.client.tables.questions import extract_question, map_question
from po_jupyter.errors import InvalidInput

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}, "n": {"type": "integer"}}}
TEXT = map_question("map", "{{ item }}", None, {})
FIELDS = map_question("map", "{{ item }}", SCHEMA, {})


def done(index: int, output: object) -> RowJson:
    return {"index": index, "ok": True, "output": output, "error": None, "usage": {}}


def failed(index: int) -> RowJson:
    return {"index": index, "ok": False, "output": None, "error": {"message": "too long"}, "usage": {}}


ROWS = [
    done(2, {"label": "c", "n": 3}),
    done(0, {"label": "a", "n": 1}),
    failed(1),
]  # as they come, in any order


def test_columns_are_by_place_and_in_the_order_of_the_schema() -> None:
    assert columns_of(FIELDS, ROWS, 3) == {
        "label": ["a", None, "c"],
        "n": [1, None, 3],
        "error": [None, "too long", None],
    }
    assert columns_of(TEXT, [done(0, "x")], 1) == {"output": ["x"], "error": [None]}
    assert columns_of(TEXT, [], 0) == {"output": [], "error": []}
    assert columns_of(FIELDS, [], 0) == {"label": [], "n": [], "error": []}


@pytest.mark.parametrize(
    "index", [["w", "w", np.nan], [3, 1, 1], pd.MultiIndex.from_tuples([(1, "a"), (1, "a"), (2, None)])]
)
def test_an_index_with_a_label_twice_or_missing_comes_back(index: Any) -> None:
    frame = pd.DataFrame({"text": ["x", "y", "z"]}, index=index)
    result = beside(frame, columns_of(FIELDS, ROWS, 3), "run1")
    assert result.index.equals(frame.index) and list(result["text"]) == ["x", "y", "z"]
    assert [value if isinstance(value, str) else None for value in result["label"]] == ["a", None, "c"]
    assert result["error"].tolist()[1] == "too long" and result.attrs == {"po_run": "run1"}
    assert "label" not in frame.columns  # what was passed in is as it was


def test_a_column_that_is_there_stays() -> None:
    frame = pd.DataFrame({"label": ["gold", "gold", "gold"], "error": [1, 2, 3], "output_label": [0, 0, 0]})
    result = beside(frame, columns_of(FIELDS, ROWS, 3), "run1")
    assert list(result.columns) == ["label", "error", "output_label", "output_label_2", "n", "output_error"]
    assert list(result["label"]) == ["gold"] * 3 and result["output_label_2"].iloc[0] == "a"


def test_a_field_that_is_called_error_is_an_answer() -> None:
    """The messages of failed rows stood in its place: an answer that was paid for was not to be seen."""
    question = extract_question(["error", "output_error"], None, {})
    rows = [done(0, {"error": "E42", "output_error": "none"}), failed(1)]
    columns = columns_of(question, rows, 2)
    assert columns["output_error"] == ["E42", None] and columns["error"] == [None, "too long"]
    assert columns["output_output_error"] == ["none", None]
    result = beside(pd.DataFrame({"error": ["a", "b"]}), columns, "r")
    assert list(result.columns) == ["error", "output_error", "output_output_error", "output_error_2"]
    assert result["output_error"][0] == "E42" and result["output_error_2"][1] == "too long"


def test_whole_numbers_of_a_list_keep_their_digits() -> None:
    """They came back as other ones, beside a row without: 9007199254740992."""
    large = 2**53 + 1
    columns = columns_of(TEXT, [done(0, "x"), done(1, "y")], 2)
    assert beside([large, None], columns, "r")["item"][0] == large
    assert beside([{"id": large}, {"id": None}], columns, "r")["id"][0] == large


def test_a_series_a_list_and_polars() -> None:
    columns = columns_of(TEXT, [done(0, "x"), done(1, ["y", "z"])], 2)
    series = pd.Series(["a", "b"], index=["i", "j"], name="text")
    assert list(beside(series, columns, "r").columns) == ["text", "output", "error"]
    assert beside(series, columns, "r").loc["j", "output"] == ["y", "z"]
    assert list(beside(["a", "b"], columns, "r")["item"]) == ["a", "b"]
    assert list(beside([{"q": 1}, {"q": 2}], columns, "r").columns) == ["q", "output", "error"]
    frame = beside(pl.DataFrame({"text": ["a", "b", "c"]}), columns_of(FIELDS, [*ROWS[:2], failed(1)], 3), "r")
    assert frame.columns == ["text", "label", "n", "error"] and frame["label"].to_list() == ["a", None, "c"]
    assert beside(pl.Series("t", ["a", "b"]), columns_of(TEXT, [done(0, "x"), done(1, "y")], 2), "r").shape == (
        2,
        3,
    )


def test_a_limit_leaves_the_first_rows() -> None:
    assert list(
        beside(pd.DataFrame({"t": ["a", "b", "c"]}), columns_of(TEXT, [done(0, "x")], 1), "r")["t"]
    ) == ["a"]
    assert beside(pl.DataFrame({"t": ["a", "b"]}), columns_of(TEXT, [done(0, "x")], 1), "r").height == 1


def test_kept_rows_are_what_the_table_is() -> None:
    frame = pd.DataFrame({"t": ["a", "b", "c"]}, index=["i", "i", None])
    result = kept(frame, [0, 2], "run1")
    assert list(result["t"]) == ["a", "c"] and result.attrs == {"po_run": "run1"} and frame.attrs == {}
    assert list(kept(frame["t"], [1], "run1")) == ["b"]
    assert kept(["a", "b"], [1], "run1") == ["b"]
    assert kept(pl.DataFrame({"t": ["a", "b", "c"]}), [0], "run1")["t"].to_list() == ["a"]
    assert kept(pl.Series("t", ["a", "b"]), [1], "run1").to_list() == ["b"]


def test_a_row_is_named_by_its_label() -> None:
    assert label_of(pd.Series(["a", "b"], index=["i", "j"]), 1) == "row 1, 'j'"
    several = pd.MultiIndex.from_tuples([(1, "i"), (2, "j")])
    assert label_of(pd.DataFrame({"t": ["a", "b"]}, index=several), 1) == "row 1, (2, 'j')"
    assert label_of(["a", "b"], 1) == label_of(pl.Series(["a", "b"]), 1) == "row 1"


@pytest.mark.parametrize(
    "table",
    [{"a": 1}, "text", 7, None, iter([1]), pd.DataFrame, np.zeros(3), pl.LazyFrame({"a": [1]}), pl.col("a")],
)
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(InvalidInput):
        check_table("map", table)


@pytest.mark.parametrize(
    "table", [[], (), pd.DataFrame(), pd.Series([], dtype=str), pl.DataFrame(), pl.Series()]
)
def test_empty_tables_are_tables(table: Any) -> None:
    check_table("map", table)
    assert len(beside(table, columns_of(FIELDS, [], 0), "r")) == 0
    assert len(kept(table, [], "r")) == 0


def test_whole_numbers_stay_what_they_are_beside_rows_without_one() -> None:
    """A float has 53 bits: an id of 17 digits beside a row that failed would be another one."""
    rows = [done(0, {"label": "a", "n": 9007199254740993}), failed(1)]
    result = beside(pd.DataFrame({"t": ["x", "y"]}), columns_of(FIELDS, rows, 2), "run1")
    assert int(result["n"][0]) == 9007199254740993 and pd.isna(result["n"][1])
    small = beside(
        pd.DataFrame({"t": ["x", "y"]}), columns_of(FIELDS, [done(0, {"n": 3}), failed(1)], 2), "run1"
    )
    assert small["n"].sum() == 3


def test_a_column_of_a_frame_with_two_levels_is_one_column() -> None:
    """pandas made two levels of the name again, and warned of it."""
    column = pd.DataFrame({("a", "x"): ["p", "q"]})[("a", "x")]
    result = beside(column, {"output": [1, 2], "error": [None, None]}, "r")
    assert list(result.columns) == [("a", "x"), "output", "error"] and result.columns.nlevels == 1
    assert list(result["output"]) == [1, 2]


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ({"a": [1]}, r"pandas.DataFrame\(...\)"),
        ("text", r"\[...\] around"),
        (range(2), r"list\("),
        (
            SimpleNamespace(to_pandas=1, column_names=1),
            r"table.to_pandas\(",
        ),  # of Arrow, whose list() is its columns
        (SimpleNamespace(fetchdf=1), r"relation.df\("),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(table: Any, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint):
        check_table("map", table)
