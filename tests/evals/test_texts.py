"""Texts as metrics compare them."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.evals.texts import folded, number_of, plain_text, squad_text


def test_text_is_normalised_as_squad_does() -> None:
    assert squad_text('The "Great"  Gatsby, an\tepic; A.') == "great gatsby epic"
    assert squad_text("theatre and another") == "theatre and another"


def test_other_values_are_their_json() -> None:
    assert plain_text({"b": 1, "a": [True, None]}) == '{"a": [true, null], "b": 1}'
    assert (plain_text(3.0), folded(" A\n B "), plain_text("e\u0301 ")) == ("3", "a b", "\u00e9")


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), ("1e3", 1000), ("-1,234,567.5", -1234567.5), ("1,23", None), ("", None), (None, None), (False, None),
     ("١٢", 12), ("inf", None), (10**400, None), ([1], None), ("1_0", 10)],
)  # fmt: skip
def test_numbers(value: Any, number: float | None) -> None:
    assert number_of(value) == number
