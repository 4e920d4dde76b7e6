"""R2.3: the pauses of a run whose store cannot be written, and what people are told of them."""

from __future__ import annotations

from po_jupyter.orchestrator.workers.store_backoff import LONGEST, StoreBackoff


def test_the_pauses_grow_to_ten_seconds_and_start_anew() -> None:
    backoff = StoreBackoff()
    pauses = [backoff.failed("r", "the disk is full") for _ in range(12)]
    assert pauses[0] < 0.7 < 0.75 < pauses[1] < 1.3
    assert max(pauses) <= 1.2 * LONGEST
    assert "12 tries" in backoff.reasons()["r"]
    wait = backoff.get("r")
    assert wait is not None
    wait.trying = True
    assert backoff.reasons() == {}
    assert backoff.reason("r") is None
    assert backoff.clear("r")
    assert not backoff.clear("r")
    assert backoff.failed("r", "full") < 0.7
