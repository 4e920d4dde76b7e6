"""JSON as bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from po_jupyter.store.json_codec import decode, encode, pack, unpack
from tests.support.json_values import json_values


@settings(deadline=None)
@given(value=json_values)
def test_json_comes_back(value: Any) -> None:
    """P4."""
    text = encode(value)
    back = decode(unpack(pack(text)))
    assert repr(back) == repr(value)
    assert encode(text) is text
