"""The id that finds one request in every log."""

from __future__ import annotations

import pytest

from po_jupyter.telemetry import correlation


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 65, "a\nb", "é"])
def test_an_id_that_is_none_is_replaced(sent: str | None) -> None:
    """P10: what a stranger sends does not get into a log or a header as it is."""
    assert correlation.accepted("cell-1") == "cell-1"
    made = correlation.accepted(sent)
    assert made != sent
    assert len(made) == 16
