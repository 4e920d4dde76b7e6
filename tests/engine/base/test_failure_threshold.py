"""How many of several may fail."""

from __future__ import annotations

from po_jupyter.engine.base.failure_threshold import allowed_failures


def test_it_is_the_largest_number_that_does_not_exceed() -> None:
    for total in range(1, 201):
        for threshold in (0.0, 0.1, 0.29, 0.3, 0.57, 0.58, 1 / 3, 0.999, 1.0):
            expected = max(failed for failed in range(total + 1) if failed / total <= threshold)
            assert allowed_failures(threshold, total) == expected, (threshold, total)
