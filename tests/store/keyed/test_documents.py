"""Documents as rows: their names beside them, whatever comes and goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.errors import InvalidInput
from po_jupyter.store.keyed import documents
from po_jupyter.store.keyed.memory import _Overlay

CHANGES = st.sampled_from(["put", "none", "drop", "swap"])


def names(shard: _Overlay, kind: str = "k") -> list[str]:
    return shard.read(documents.names_key(kind)) or []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "none", "drop", "swap"]), st.sampled_from("abc/é"), st.integers(0, 2))
    )
)
def test_the_list_of_names_is_that_of_the_documents(changes: list[tuple[str, str, int]]) -> None:
    """P8: a document that is in no list is one that nobody finds again."""
    shard, model = _Overlay({}), dict[str, int]()
    for change, name, value in changes:
        if change == "put":
            documents.put(shard, "k", name, value)
            model[name] = value
        elif change == "none":
            documents.put(shard, "k", name, None)
            model.pop(name, None)
        elif change == "drop":
            assert documents.drop(shard, "k", name) == (model.pop(name, None) is not None)
        else:
            swapped = documents.swap(shard, "k", name, model.get(name), value)
            assert swapped
            model[name] = value
        assert names(shard) == sorted(model)
        assert {name: shard.read(documents.key("k", name)) for name in model} == model


def test_a_swap_compares_what_the_store_would_have_kept() -> None:
    """A tuple is a list there, and no reason for another try."""
    shard = _Overlay({})
    documents.put(shard, "k", "a", {"x": [1, 2]})
    assert not documents.swap(shard, "k", "a", {"x": [2, 1]}, 5)
    assert not documents.swap(shard, "k", "a", None, 5)
    assert documents.swap(shard, "k", "a", {"x": (1, 2)}, 5)
    assert shard.read(documents.key("k", "a")) == 5
    assert documents.swap(shard, "k", "a", 5, None)
    assert names(shard) == []


def test_a_list_that_lost_a_name_or_kept_one_is_mended_by_the_next_change() -> None:
    """A store of an earlier version, or a copy that was cut short."""
    shard = _Overlay({})
    documents.put(shard, "k", "a", 1)
    shard.write(documents.names_key("k"), ["b"])
    documents.put(shard, "k", "b", 2)
    assert names(shard) == ["b"]
    assert documents.drop(shard, "k", "a")
    assert names(shard) == ["b"]


@pytest.mark.parametrize("name", ["", "x" * 501, "a\0b", "\ud800"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    """P11."""
    acts: list[Any] = [lambda s: documents.put(s, "k", name, 1), lambda s: documents.drop(s, "k", name)]
    shard = _Overlay({})
    for act in acts:
        with pytest.raises(InvalidInput, match="cannot name a document"):
            act(shard)
    assert shard.changed == {}
    documents.put(shard, "k", "x" * 500, 1)


@pytest.mark.parametrize("kind", ["", "a/b", ".hidden", "x" * 65, "é"])
def test_what_cannot_be_a_kind_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a kind"):
        documents.key(kind, "a")
