"""Whole numbers in somebody's text."""

from __future__ import annotations

import pytest

from po_jupyter.model.values.whole_numbers import MOST, whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("17", 17), ("007", 7), (str(MOST), MOST)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.0", " 1", "1_0", "²", "٣", "1e3", str(MOST + 1), "9" * 5000]
)
def test_any_other_text_is_none(text: str) -> None:
    assert whole_number(text) is None


def test_a_number_has_a_largest_value() -> None:
    assert (whole_number("99", 99), whole_number("100", 99), whole_number("64", 63)) == (99, None, None)
