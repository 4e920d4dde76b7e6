"""Rows of CSV and TSV files: nothing is joined, cut or shifted in silence."""

from __future__ import annotations

import csv
import io

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.csv_rows import read_rows


@pytest.mark.parametrize(
    "cell",
    [
        "two\nlines",
        "two\r\nlines",
        "old\rline",
        "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
        "x" * 300_000,
        'she said "hi", and left',
        "",
        " spaces ",
        "a\tb",
        "\ufeff",
        "é😀",
    ],
    ids=lambda cell: ascii(cell[:20]),
)
@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_cell_comes_as_it_was_written(cell: str, delimiter: str, end: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["text", "n"], [cell, "1"], ["after", "2"]])
    rows = read_rows(file.getvalue(), "t.csv", delimiter)
    assert rows == [{"text": cell, "n": "1"}, {"text": "after", "n": "2"}]
    assert csv.field_size_limit() == 131_072, "the limit of everybody else is as it was"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("id;price\n1;2,50\n", [{"id": "1", "price": "2,50"}]),
        ('"id";"a, b"\r\n"1";"x;y"\r\n', [{"id": "1", "a, b": "x;y"}]),
        ("id\ttext\n1\ta, b\n", [{"id": "1", "text": "a, b"}]),
        ("sep=;\r\nid;text\r\n1;x\r\n", [{"id": "1", "text": "x"}]),
        ("sep=,\nid,a;b\n1,x\n", [{"id": "1", "a;b": "x"}]),
        ("a;b,c\n1;2,3\n", [{"a;b": "1;2", "c": "3"}]),
        ('"a;b"\n1;2\n', [{"a;b": "1;2"}]),
        ("text\nhello; you\n", [{"text": "hello; you"}]),
        ("text; as it is\nhello you\n", [{"text; as it is": "hello you"}]),
        ("a,b\n1\n", [{"a": "1", "b": None}]),
    ],
)
def test_the_first_line_tells_the_delimiter(text: str, rows: list[dict[str, str]]) -> None:
    assert read_rows(text, "t.csv", ",") == rows


def test_lines_count_from_the_line_of_excel() -> None:
    with pytest.raises(InvalidInput, match=r"line 3 of t\.csv has 3 cells for 2 columns"):
        read_rows("sep=;\na;b\n1;2;3\n", "t.csv", ",")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,a\n1,2,3\n", "line 1 of t.csv has two columns called 'a'"),
        ("\na,a\n", "line 2 of t.csv has two columns called 'a'"),
        (",x,\n1,2,3\n", "line 1 of t.csv has two columns called ''"),
        ('a,b\n"x\ny",1\n1,2,3\n', "line 4 of t.csv has 3 cells for 2 columns"),
        ("a,b\n1,hello, world\n", "line 2 of t.csv has 3 cells for 2 columns"),
        ('a,b\n1,2\n3,"open\n4,5\n6,7\n', "line 3 of t.csv has a quote that is never closed"),
        ('a,"b\n1,2\n', "line 1 of t.csv has a quote that is never closed"),
        ('a,b\n1,"x" y\n', "line 2 of t.csv has text behind a closing quote"),
        ("a,b\r1,2\r\n3,\0\n", "line 3 of t.csv has a NUL character"),
        ("", "t.csv is empty"),
        ("\n\n", "t.csv is empty"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_the_line(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_rows(text, "t.csv", ",")
    assert says in str(caught.value)


def test_empty_lines_are_no_rows_and_missing_cells_are_null() -> None:
    assert read_rows("a,b\n\n1\n\n2,3\n", "t.csv", ",") == [{"a": "1", "b": None}, {"a": "2", "b": "3"}]
    assert read_rows("a,b\n", "t.csv", ",") == []
    assert read_rows(",text\n0,x\n", "t.csv", ",") == [{"": "0", "text": "x"}], "as to_csv() writes an index"
