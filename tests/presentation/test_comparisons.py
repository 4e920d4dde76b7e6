"""Comparisons as people read them."""

from __future__ import annotations

from typing import Any

from po_jupyter.presentation.comparisons import p_text, paired_line, variants_html, variants_text

MEAN: Any = {"name": "exact", "metric": "exact", "scored": 50, "mean": 0.8, "interval": [0.67, 0.888],
             "method": "wilson", "low": 0.0, "high": 1.0, "missing": {}}  # fmt: skip
SCORE: Any = {
    "name": "exact", "metric": "exact", "a": MEAN, "b": {**MEAN, "mean": 0.9, "interval": None}, "rows": 50, "both": 39,
    "a_only": 1, "b_only": 6, "neither": 4, "p": 0.125, "method": "exact",
}  # fmt: skip


def variant(name: str, **fields: Any) -> Any:
    return {
        "name": name, "rows": 50, "done": 50, "failed": 0, "tokens": 1500, "cost_usd": 0.25, "seconds": 3.0,
        "models": ["m"], "scores": [MEAN], **fields,
    }  # fmt: skip


def test_a_score_of_two_sides_is_one_line() -> None:
    line = paired_line(SCORE)
    assert line.startswith("exact: A 0.80 (0.67 to 0.89), B 0.90; of 50 rows 1 right in A only, 6 in B only")
    assert line.endswith("McNemar's p 0.125 (exact)")
    assert "McNemar" not in paired_line({**SCORE, "p": None})
    assert (p_text(None), p_text(0.0004), p_text(0.05)) == ("–", "< 0.001", "0.050")


def test_variants_are_a_table_and_their_pairs_another() -> None:
    pair: Any = {"a": "short", "b": "<i>", "agreement": 0.866, "scores": [SCORE]}
    found: Any = {
        "task": "label", "rows": 50, "variants": [variant("short"), variant("<i>", failed=2, done=48, cost_usd=None)],
        "pairs": [pair, {**pair, "agreement": None, "scores": []}],
    }  # fmt: skip
    text = variants_text(found)
    assert "label: 2 variants of 50 rows" in text
    assert "48 of 50, 2 failed" in text and "unknown" in text and "86 %" in text and "0.125" in text
    page = variants_html(found)
    assert page.count("<table") == 2 and "<i>" not in page and "&lt;i&gt;" in page
