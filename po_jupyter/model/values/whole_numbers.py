"""Whole numbers in somebody's text: cursors, offsets, headers, options."""

from __future__ import annotations

MOST = 10**15 - 1  # no place, count or size that anybody means is larger, and it is exact in JSON too


def whole_number(text: str, most: int = MOST) -> int | None:
    """The number from 0 to `most` that ASCII digits mean; None for any other text.

    `int` itself takes signs, spaces, underscores and other scripts' digits, and raises for some thousand digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None
