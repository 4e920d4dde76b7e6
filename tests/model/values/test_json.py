"""Readers of JSON that lose nothing."""

from __future__ import annotations

import json

import pytest

from po_jupyter.model.values.json import exact_number, unique_names


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9007199254740993.0", 9007199254740993),
        ("-9007199254740993.000", -9007199254740993),
        ("12345678901234567891.0", 12345678901234567891),
        ("9007199254740992.0", 9007199254740992.0),
        ("9007199254740993.5", 9007199254740994.0),  # a part of one: the nearest float, as ever
        ("1e300", 1e300),  # with an exponent it is about so much
        ("0.1234567890123456789", 0.1234567890123456789),
        ("3.0", 3.0),
    ],
)
def test_a_whole_number_is_the_one_that_is_written(text: str, number: float) -> None:
    read = json.loads(text, parse_float=exact_number)
    assert read == number and type(read) is type(number)


def test_a_name_twice_is_refused() -> None:
    assert json.loads('{"a": {"a": 1}}', object_pairs_hook=unique_names) == {"a": {"a": 1}}
    with pytest.raises(ValueError, match="`a` stands twice"):
        json.loads('{"a": 1, "a": 2}', object_pairs_hook=unique_names)
