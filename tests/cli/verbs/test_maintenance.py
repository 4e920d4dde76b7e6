"""`po usage`, `clean`, `audit`."""

from __future__ import annotations

import json
from typing import Any


def test_the_audit_shows_no_stars_that_tell_nothing(po: Any, client: Any) -> None:
    """G7: a client's own name for a request is masked in the log, so a column of it is only noise."""
    entry = {"at": "2026-11-22T17:00:00Z", "by": "local", "action": "submit", "run": "0192f0deadbe7f3a"}
    client.audit = lambda limit: [{**entry, "pipeline": "tickets", "idempotency_key": "********"}]
    _, out, _ = po("audit")
    assert "pipeline=tickets" in out and "***" not in out
    assert "idempotency_key" in po("audit", "--json")[1]


def test_usage_says_what_is_not_in_the_sum(po: Any, client: Any) -> None:
    """Issue "Tokens and money": unknown prices are shown as unknown, never as zero."""
    code, out, err = po("usage")
    assert (code, err) == (0, "")
    assert "2026-11-22  1,012  402,118    204  $1.20 + 3 calls of unknown price" in out
    assert "openai" not in out
    assert "  openai:gpt-5-mini" in po("usage", "--by-model")[1]
    assert json.loads(po("usage", "--json")[1])["total"]["unpriced"] == 3
    out = po("usage", "--days", "7")[1]
    assert "  ada" in out and "  bob" in out
