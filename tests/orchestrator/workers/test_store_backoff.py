"""R2.3: the pauses of a run whose store cannot be written, and what people are told of them."""

from __future__ import annotations

from po_jupyter.orchestrator.workers.store_backoff import LONGEST, StoreBackoff


def test_the_pauses_of_each_run_grow_to_ten_seconds() -> None:
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
    assert backoff.failed("other", "full") < 0.7


def test_a_run_whose_log_can_be_written_and_whose_files_cannot_waits_longer_each_time() -> None:
    """Each try writes to the log before it meets the full disk again."""
    backoff = StoreBackoff()
    delays = []
    for _ in range(8):
        delays.append(backoff.failed("r", "the disk is full"))
        assert backoff.clear("r")
    assert delays[-1] > 5 > 1 > delays[0]
