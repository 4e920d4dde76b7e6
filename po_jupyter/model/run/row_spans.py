"""Row numbers written as spans, `0-99,105`: in events, and as people write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from po_jupyter.errors import InvalidInput

_OPTION = re.compile(r"(?P<task>.+):(?P<rows>\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*)")
_MOST = 10_000


def format_spans(indexes: Iterable[int]) -> str:
    """Ascending row numbers in few characters: `0-99,105`."""
    spans: list[str] = []
    first = last = -2
    for index in indexes:
        if index == last + 1:
            last = index
            continue
        if last >= 0:
            spans.append(f"{first}-{last}" if last > first else f"{first}")
        first = last = index
    if last >= 0:
        spans.append(f"{first}-{last}" if last > first else f"{first}")
    return ",".join(spans)


def parse_spans(text: str) -> Iterator[int]:
    """The row numbers that `format_spans` wrote."""
    for span in filter(None, text.split(",")):
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)


def parse_row_options(texts: Sequence[str]) -> dict[str, list[int]]:
    """Rows by task, of texts like `label:3,17-20`. Raises InvalidInput that repeats the text."""
    rows: dict[str, list[int]] = {}
    for text in texts:
        match = _OPTION.fullmatch(text.replace(" ", ""))
        if match is None:
            raise InvalidInput(
                f"rows are written TASK:N, not {text!r:.60}", hint="For example label:3 or label:3,17-20."
            )
        for span in match["rows"].split(","):
            first, _, last = span.partition("-")
            if int(last or first) - int(first) >= _MOST:
                raise InvalidInput(f"{span} is more than {_MOST:,} rows, in {text!r:.60}")
            if last and int(last) < int(first):
                raise InvalidInput(f"{span} ends before it begins, in {text!r:.60}")
        rows.setdefault(match["task"], []).extend(parse_spans(match["rows"]))
    return rows
