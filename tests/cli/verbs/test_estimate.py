"""`po estimate` and `po run --dry-run`."""

from __future__ import annotations

import json
from typing import Any


def test_an_estimate_starts_nothing_by_either_name(po: Any, client: Any) -> None:
    """G1: `po estimate` and `po run --dry-run` say the same, marked as an estimate."""
    said = []
    for words in (["estimate", "tickets"], ["run", "tickets", "--dry-run"]):
        code, out, _ = po(*words, "--seed", '[{"text": "a"}]', "--limit", "2")
        assert code == 0
        assert client.estimated == ("tickets", [{"text": "a"}], 2)
        said.append(out)
    assert said[0] == said[1]
    assert "tickets (estimate, nothing was started): at least 3 calls" in said[0]
    assert "not in these numbers: the price of x" in said[0]
    assert client.submitted == []
    code, out, _ = po("estimate", "tickets", "--json")
    assert json.loads(out)["cost"]["worst"] == 0.25
