"""The small structures under both stores, against plain models of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import JsonText, decode, encode, pack, unpack
from po_jupyter.store.keyed import payloads
from po_jupyter.store.keyed import run_index as index
from po_jupyter.store.keyed.memory import _Overlay

ids = st.integers(0, 60).map(lambda i: f"{i:04x}")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "PAGE", 4)
        yield


@settings(deadline=None)
@given(
    changes=st.lists(st.tuples(st.booleans(), ids), max_size=120),
    cursors=st.lists(st.tuples(st.none() | ids, st.integers(1, 70)), max_size=5),
)
def test_the_index_is_a_sorted_set(
    changes: list[tuple[bool, str]], cursors: list[tuple[str | None, int]]
) -> None:
    """P8: whatever order runs come and go in, pages list each once, newest first."""
    rows, model = _Overlay({}), set()
    for added, run in changes:
        if added:
            index.add(rows, run)
            model.add(run)
        else:
            index.remove(rows, run)
            model.discard(run)
    for than, limit in [(None, 100), *cursors]:
        expected = [run for run in sorted(model, reverse=True) if than is None or run < than]
        assert index.older(rows, than, limit) == expected[:limit]


@settings(deadline=None)
@given(values=st.lists(json_values, max_size=10))
def test_payloads_are_joined_and_read_apart(values: list[Any]) -> None:
    """P4."""
    row = payloads.join(values)
    assert decode(row)[1:] == values  # a row is plain JSON too
    split = payloads.split(unpack(pack(row)))
    assert split.all() == values
    assert split.value(len(values)) is payloads.MISSING


@settings(deadline=None)
@given(value=json_values)
def test_json_comes_back(value: Any) -> None:
    """P4."""
    text = encode(value)
    back = decode(unpack(pack(text)))
    assert repr(back) == repr(value)
    assert encode(text) is text


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
