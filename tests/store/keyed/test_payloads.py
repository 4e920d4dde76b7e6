"""The payloads of a record: joined into one row, read apart."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import JsonText, decode, pack, unpack
from po_jupyter.store.keyed import payloads
from tests.support.json_values import json_values


@settings(deadline=None)
@given(values=st.lists(json_values, max_size=10))
def test_payloads_are_joined_and_read_apart(values: list[Any]) -> None:
    """P4."""
    row = payloads.join(values)
    assert decode(row)[1:] == values  # a row is plain JSON too
    split = payloads.split(unpack(pack(row)))
    assert split.all() == values
    assert split.value(len(values)) is payloads.MISSING


@pytest.mark.parametrize("row", [b"[]", b"[[5],1]", b"[[1],12]", b"[[1,1],1]", b"{}", b"[[", b"", b'[["1"],1]'])
def test_a_row_that_is_not_payloads_is_refused(row: bytes) -> None:
    """P4."""
    with pytest.raises(CorruptRow):
        payloads.split(row)


def test_rows_read_last_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_KEEP", 10_000)
    recent, reads = payloads.PayloadCache(), []
    rows = {n: payloads.join(["x" * 900, n]) for n in range(100)}

    def read(n: int) -> JsonText:
        reads.append(n)
        return rows[n]

    for n in range(100):
        assert [recent.value("r", n, at, partial(read, n)) for at in (1, 0)] == [n, "x" * 900]
    assert reads == list(range(100))
    assert recent._bytes <= 10_000
    recent.forget("r")
    assert (recent._bytes, len(recent._rows)) == (0, 0)
