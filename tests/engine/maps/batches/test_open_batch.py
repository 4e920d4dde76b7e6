"""A batch as the log has it."""

from __future__ import annotations

from po_jupyter.engine.maps.batches.open_batch import open_batch_from_log
from po_jupyter.engine.replay.spent_from_log import Amount


def test_a_batch_is_read_from_its_record() -> None:
    batch = open_batch_from_log(
        {
            "token": "po1", "attempt": 2, "rows": "0-2,7", "at": "2026-11-22T12:00:00.000+00:00",
            "reserved": [0.4, 400], "cancelling": True,
        }
    )  # fmt: skip
    assert (batch.rows, batch.members) == ((0, 1, 2, 7), {0, 1, 2, 7})
    assert (batch.id, batch.attempt, batch.cancelling, batch.cancel_sent) == (None, 2, True, False)
    assert batch.prepared == 1795348800.0
    assert batch.reserved_for_row == Amount(0.1, 100)


def test_a_batch_of_a_run_without_a_budget_reserved_nothing() -> None:
    batch = open_batch_from_log(
        {"token": "t", "attempt": 1, "rows": "0", "at": "2026-11-22T12:00:00Z", "id": "b"}
    )
    assert batch.reserved == Amount()
    assert batch.id == "b"
