"""One text for equal JSON."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.model.values.canonical import canonical


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1.0), (0, -0.0), (10**22, 1e22), ({"a": [1.0], "b": 2}, {"b": 2.0, "a": [1]}), ("x1.0", "x1.0")],
)
def test_equal_values_have_one_text(a: Any, b: Any) -> None:
    assert canonical(a) == canonical(b)


def test_others_have_texts_of_their_own() -> None:
    values: list[Any] = [1, True, "1", "1.0", 1.5, 10.5, None, [1], {"1": 1}, [], {}, "é", "e\u0301", "\ud800"]
    assert len({canonical(value) for value in values}) == len(values)
