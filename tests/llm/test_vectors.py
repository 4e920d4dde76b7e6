"""Vectors as text and back."""

from __future__ import annotations

import math
import struct
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.llm.vectors import MOST_DIMENSIONS, pack, unpack

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_what_is_packed_comes_back_to_the_last_bit(values: list[float]) -> None:
    assert pack(unpack(pack(values))) == pack(values)
    assert unpack(pack(values)) == pytest.approx(values, rel=1e-8, abs=1e-44)


def test_the_numbers_are_short() -> None:
    assert unpack(pack([0.1, -0.02, 1, 0])) == [0.100000001, -0.0199999996, 1.0, 0.0]
    assert len(pack([0.1] * 1536)) == 8192


@pytest.mark.parametrize(
    "values",
    [[], None, "abc", {"a": 1}, [1, "x"], [math.nan], [math.inf], [1e300], [None], [[1.0]], [0.5, True]],
)
def test_what_is_no_vector_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="it "):
        pack(values)


def test_there_is_a_longest_vector() -> None:
    pack([0.0] * MOST_DIMENSIONS)
    with pytest.raises(ValueError, match="8,193 numbers; 8,192 is the most"):
        pack([0.0] * (MOST_DIMENSIONS + 1))


NOT_A_NUMBER, INFINITE = (b64encode(struct.pack("<f", value)).decode() for value in (math.nan, math.inf))
TOO_LONG = b64encode(bytes(4 * (MOST_DIMENSIONS + 1))).decode()


@pytest.mark.parametrize("text", ["echo: hello", "AAA", "AAAAAAA=", "é", "", NOT_A_NUMBER, INFINITE, TOO_LONG])
def test_another_text_is_no_vector(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text)
