"""The index of runs, against a plain set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.store.keyed import run_index as index
from po_jupyter.store.keyed.memory import _Overlay

ids = st.integers(0, 60).map(lambda i: f"{i:04x}")


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


def test_lists_filter_by_a_digest_of_any_text() -> None:
    assert len({index.digest(text) for text in ("", "a", "a\0", "\ud800", "x" * 100_000)}) == 5
    assert {len(index.digest(text)) for text in ("", "x" * 100_000)} == {16}
