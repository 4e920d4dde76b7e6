"""Keys of values: what counts as the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators.equality import exact_key, is_nothing, loose_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (0, False),
        ("true", True),
        (None, "null"),
        ([], {}),
        ("a", "A"),
        (0, None),
        ("", None),
    ],
)
def test_keys_of_different_types_differ(one: Any, other: Any) -> None:
    assert exact_key(one) != exact_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (0.0, -0.0), (math.nan, float("nan")), ("é", "e\u0301"), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1})],
)
def test_equal_values_have_one_key(one: Any, other: Any) -> None:
    assert exact_key(one) == exact_key(other)


def test_a_loose_key_forgets_case_width_and_spaces() -> None:
    assert loose_key("  Straße\n Nord ") == loose_key("STRASSE nord") == loose_key("ｓｔｒａｓｓｅ　nord")
    assert loose_key({"a": ["X "]}) == loose_key({"a": ["x"]}) != loose_key({"A": ["x"]})
    assert loose_key("1") != loose_key(1)


def test_nothing_is_null_or_nan() -> None:
    assert [is_nothing(v) for v in (None, math.nan, 0, "", [], False)] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_what_is_no_json_has_no_key() -> None:
    with pytest.raises(ValueError, match="a JSON value, not set"):
        exact_key({1, 2})
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueError, match="too deeply"):
        exact_key(deep)


@given(JSON)
def test_every_json_value_has_a_key_that_is_its_own_again(value: Any) -> None:
    assert exact_key(value) == exact_key(value)
    assert isinstance(loose_key(value), str)
