"""A look into one run: nobody sees another one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import NotFound, RateLimited
from po_jupyter.orchestrator.threads import BoundedThreads
from tests.support.engine import RUN
from tests.support.run_page import fruit_page, inspection


async def test_of_somebody_elses_run_and_of_what_is_not_there_nothing_is_shown(tmp_path: Path) -> None:
    """P5."""
    page = await fruit_page(tmp_path)
    look = page.inspection
    for asked in (
        look.rows(RUN, "other", "label"), look.row(RUN, "other", "label", 0), look.calls(RUN, "other"),
        look.call(RUN, "other", 0), look.timeline(RUN, "other"), look.spending(RUN, "other"),
        look.rows(RUN, "me", "lable"), look.row(RUN, "me", "label", 3), look.call(RUN, "me", 3),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await asked


async def test_a_read_is_counted_against_the_owner_of_the_run(tmp_path: Path) -> None:
    """Searches of one person keep nobody else, and not the orchestrator, waiting."""
    page = await fruit_page(tmp_path)
    threads = BoundedThreads(1, -1, "none")  # takes nothing
    look = inspection(page.bench.store, page.settings, inspecting=threads)
    try:
        with pytest.raises(RateLimited):
            await look.rows(RUN, "me", "label", q="x")
    finally:
        threads.close()
