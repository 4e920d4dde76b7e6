"""Variants as a person gets them."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.client.evals.variants import VariantComparison
from po_jupyter.errors import NotFound
from tests.presentation.test_comparisons import SCORE, variant


def comparison() -> VariantComparison:
    pair: Any = {"a": "short", "b": "long", "agreement": 0.5, "scores": [SCORE]}
    return VariantComparison(
        {
            "task": "label",
            "rows": 50,
            "variants": [variant("short"), variant("long", scores=[])],
            "pairs": [pair],
        }
    )


def test_a_variant_is_had_by_its_name() -> None:
    found = comparison()
    assert found["long"]["done"] == 50
    with pytest.raises(NotFound, match="did you mean `short`"):
        found["shrt"]
    assert "2 variants" in repr(found) and "<table" in found._repr_html_()


def test_a_frame_has_a_row_for_each() -> None:
    pytest.importorskip("pandas")
    frame = comparison().frame()
    assert list(frame.index) == ["short", "long"] and frame.index.name == "variant"
    assert frame.loc["short", "exact"] == 0.8 and frame.loc["short", "exact_low"] == 0.67
