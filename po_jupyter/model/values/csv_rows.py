"""CSV and TSV files as rows: objects of text by the names in the first line.

Read by Python's csv, strictly: what would join, shift or cut cells is one error that names the line. Spreadsheets write
`.csv` with semicolons or tabs where a comma is in numbers: the first line tells, by `sep=;` or by its names.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from po_jupyter.errors import InvalidInput

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_LINE_END = re.compile(r"\r\n|\r|\n")
_EXCELS = re.compile(r'"?sep=([^"\r\n])"?(?=[\r\n])')  # its own first line, which names the delimiter
_INSTEAD = (";", "\t")  # of a comma


def read_rows(text: str, name: str, delimiter: str) -> list[dict[str, str | None]]:
    """The rows of the file `name` with this text, whose line ends are as they are in the file.

    A cell that is missing at the end of a row is null. Raises InvalidInput that names the line.
    """
    if (at := text.find("\0")) >= 0:
        raise _refused(name, len(_LINE_END.findall(text, 0, at)) + 1, "a NUL character, which no text has")
    limit = csv.field_size_limit(max(len(text), 1))  # cells may be as long as the file
    try:
        text, delimiter = _delimited(text, name, delimiter)
        records = _records(text, name, delimiter)
        first = next(records, None)
        if first is None:
            raise InvalidInput(f"{name} is empty", hint="Its first line has the names of the columns.")
        line, columns = first
        _check_names(columns, name, line)
        rows: list[dict[str, str | None]] = []
        for line, cells in records:
            if len(cells) > len(columns):
                raise _refused(name, line, f"{len(cells)} cells for {len(columns)} columns", _QUOTES)
            rows.append({**dict.fromkeys(columns), **dict(zip(columns, cells, strict=False))})
        return rows
    finally:
        csv.field_size_limit(limit)


def _delimited(text: str, name: str, delimiter: str) -> tuple[str, str]:
    """The text without a line that is Excel's alone, and its delimiter."""
    if (first_line := _EXCELS.match(text)) is not None:
        return text[first_line.end() :], first_line[1]
    for other in (delimiter, *_INSTEAD) if delimiter == "," else ():
        with suppress(InvalidInput):
            first = [len(cells) for _, cells in islice(_records(text, name, other), 2)]
            if first and min(first) > 1:  # the row behind the names is parted too: a name may have a semicolon
                return text, other
    return text, delimiter


def _records(text: str, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the line that it begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _refused(name, line, _reason(error), _QUOTES) from None
        if cells is None:
            return
        if cells:
            yield line, cells


def _check_names(columns: Sequence[str], name: str, line: int) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise _refused(name, line, f"two columns called {twice!r:.60}", "Give each a name of its own.")


def _refused(name: str, line: int, problem: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"line {line} of {name} has {problem}", hint=hint)


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote that is never closed"
    if "expected after" in text:
        return "text behind a closing quote"
    return f"cells that cannot be read: {text}"


_QUOTES = 'A cell that holds a delimiter, a line end or a quote stands in quotes: "say ""hi"", please".'
