"""Custom ids of a batch's requests (P6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.maps.batches.custom_ids import (
    RequestId,
    custom_id,
    parse_custom_id,
)

TOKEN = "po0123456789abcdef"


@given(
    st.integers(0, 10**9 - 1),
    st.integers(1, 10**6),
    st.integers(0, 20),
    st.sampled_from(["inference", "critique"]),
)
def test_custom_ids(row: int, attempt: int, round_: int, stage: str) -> None:
    request = RequestId(row, attempt, stage, round_)
    text = custom_id(TOKEN, request)
    assert len(text) <= 64 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert parse_custom_id(TOKEN, text) == request
    assert parse_custom_id("po" + "0" * 16, text) is None


@pytest.mark.parametrize(
    "given_",
    [
        "",
        TOKEN,
        f"{TOKEN}-1",
        f"{TOKEN}-1-1-1x",
        f"{TOKEN}--1-1-1i",
        f"{TOKEN}-1-1-1i\n",
        f"{TOKEN}-9999999999-1-1i",
    ],
)
def test_other_peoples_ids(given_: str) -> None:
    """P6: a name that comes back is a name that was given, or nothing."""
    assert parse_custom_id(TOKEN, given_) is None
