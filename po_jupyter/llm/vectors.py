"""Vectors of texts (embeddings): their numbers as a short text, and back.

A vector is recorded as base64 of its numbers as 32-bit floats, the least significant byte first: 5.4 characters for
each, half of what decimals take. Tasks see a list of numbers, with the nine digits that such a float has.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence

MOST_DIMENSIONS = 8192
"""The longest vector that is taken; the vendors' have up to 4,096 numbers."""


def pack(values: object) -> str:
    """The text of a vector. Raises ValueError for what is none: no numbers, too many, or one that is not finite."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or not values:
        raise ValueError("it is no list of numbers")
    if len(values) > MOST_DIMENSIONS:
        raise ValueError(f"it has {len(values):,} numbers; {MOST_DIMENSIONS:,} is the most")
    if any(isinstance(value, bool) for value in values):
        raise ValueError("it has true or false where a number is due")
    try:
        raw = struct.pack(f"<{len(values)}f", *values)
    except (struct.error, OverflowError):
        raise ValueError("it has something that is no number of 32 bits") from None
    if not all(map(math.isfinite, values)):
        raise ValueError("it has a number that is not finite")
    return base64.b64encode(raw).decode()


def unpack(text: str) -> list[float]:
    """The numbers of a vector's text. Raises ValueError for a text that `pack` cannot have made."""
    try:
        raw = base64.b64decode(text, validate=True)
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
    except (binascii.Error, struct.error) as error:
        raise ValueError(f"the text is no vector: {error}") from None
    if not values or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"the text is no vector: it has {len(values):,} numbers")
    if not all(map(math.isfinite, values)):
        raise ValueError("the text is no vector: it has a number that is not finite")
    # Written out once: the doubles of these floats have 17 digits, of which the last eight say nothing.
    return [float(number) for number in ("%.9g " * len(values) % values).split()]
