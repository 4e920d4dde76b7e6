"""Projections: states that are folded once, seeds that lists can carry."""

from __future__ import annotations

from po_jupyter.orchestrator.views.projections import brief


def test_a_large_seed_is_named_by_its_size() -> None:
    seed = {"name": "n", "data": {"rows": ["x" * 100] * 1000}}
    assert brief(seed)["data_bytes"] > 100_000
    assert brief({"name": "n", "data": {}}) == {"name": "n", "data": {}}
