"""Large JSON in pieces is the same JSON (P9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.model.values.chunked_json import is_larger_than, json_chunks, read_json

pytestmark = pytest.mark.integration  # it takes seconds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


def plain(value: Any, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), **more)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_pieces_joined_are_what_python_writes(value: Any) -> None:
    assert "".join(json_chunks(value)) == plain(value)
    assert "".join(json_chunks(value, sort_keys=True)) == plain(value, sort_keys=True)


@pytest.mark.parametrize(
    "value",
    [[*range(1501)], [[1]] * 1000, {"a": [[{"b": [*range(600)]}]]}, [[[[[[[[[1]]]]]]]]], {1: 2}, (1, 2)],
)
def test_long_and_deep_ones_too(value: Any) -> None:
    assert "".join(json_chunks(value)) == plain(value)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_is_read_is_what_python_reads(value: Any) -> None:
    text = json.dumps(value).encode()
    assert read_json(text, float) == json.loads(text)


def test_how_large_something_is_is_known_without_writing_it() -> None:
    assert not is_larger_than({"a": [1, 2, {"b": "c" * 500}]}, 1000)
    assert is_larger_than({"a": [1, 2, {"b": "c" * 500}]}, 400)
    assert is_larger_than([[None] * 300], 1000)
    assert not is_larger_than(1, 1000)
