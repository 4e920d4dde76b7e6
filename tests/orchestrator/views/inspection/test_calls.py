"""Calls of a run, one entry each."""

from __future__ import annotations

from pathlib import Path

from tests.support.engine import RUN
from tests.support.run_page import fruit_page


async def test_calls_are_paged_and_numbered_in_order(tmp_path: Path) -> None:
    page = await fruit_page(tmp_path)
    first = await page.inspection.calls(RUN, "me", limit=2)
    assert [call["n"] for call in first["calls"]] == [0, 1]
    assert (first["total"], first["next"]) == (3, 2)
    rest = await page.inspection.calls(RUN, "me", start=2)
    assert [call["n"] for call in rest["calls"]] == [2]
    assert rest["next"] is None
    assert (await page.inspection.calls(RUN, "me", task="nowhere"))["calls"] == []
