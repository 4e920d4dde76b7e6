"""References to files of rows in a seed."""

from __future__ import annotations

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.row_file_ref import RowFileRef, checked_hash, refs_in

HASH = "0" * 64


def test_a_reference_stands_in_a_seed_as_json() -> None:
    ref = RowFileRef(HASH, 3, ("a",))
    assert list(refs_in({"rows": ref.to_json(), "text": "x", "more": {"no": 1}})) == [("rows", ref)]


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "../" + "0" * 61, "G" * 64, "A" * 64])
def test_only_a_hash_names_a_file(text: str) -> None:
    """P6: it becomes the name of a file."""
    assert checked_hash(HASH) == HASH
    with pytest.raises(InvalidInput):
        checked_hash(text)
