"""A page about a run that a real worker worked off, with the answers of a fake model."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow
from po_jupyter.orchestrator.examination.operations import examine_here
from po_jupyter.orchestrator.threads import OwnerThreads
from po_jupyter.orchestrator.views.inspection.service import RunInspection
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN, Bench
from tests.support.orchestrator import Anyone

MAP = {"name": "label", "prompt": "Label {{ item.text }}", "for_each": "{{ seed.rows }}"}
ROWS = [{"text": text} for text in ("pear", "apple", "fig")]


class NobodyWaits:
    """No run waits for anything."""

    def position(self, run: str) -> int | None:
        return None

    def waiting_reason(self, run: str) -> str | None:
        return None


class RunPage:
    """A run, and what a page about it asks."""

    def __init__(self, tmp: Path, replies: Any = (), store: MemoryStore | None = None) -> None:
        self.bench = Bench(tmp, store or MemoryStore(), replies)
        self.settings = Settings(data_dir=tmp)
        self.inspection = inspection(self.bench.store, self.settings)

    async def rows(self, task: str = "label", **query: Any) -> dict[str, Any]:
        return await self.inspection.rows(RUN, "me", task, **query)

    async def indexes(self, **query: Any) -> list[int]:
        return [row["index"] for row in (await self.rows(**query))["rows"]]


def inspection(store: Any, settings: Settings, inspecting: OwnerThreads | None = None) -> RunInspection:
    projections = RunProjections(store)
    runs = RunQueries(store, projections, NobodyWaits(), asyncio.to_thread)
    return RunInspection(
        settings, store, projections, runs,
        examine=partial(examine_here, settings=settings), inspecting=inspecting or Anyone(), rendering=Anyone(),
    )  # fmt: skip


async def fruit_page(tmp_path: Path) -> RunPage:
    """The page of a run that labelled three fruits, one by one."""
    page = RunPage(tmp_path, ["green", "red", "blue"])
    page.bench.create([{**MAP, "max_concurrency": 1}], {"rows": ROWS})
    assert await page.bench.go() == "done"
    return page


class DamagedStore(MemoryStore):
    """Some records and payloads cannot be read."""

    def damage(self, *keys: str) -> None:
        self._rows.update(dict.fromkeys(keys, b"{"))

    def _at(self, number: int, work: Any, *, write: bool = False) -> Any:
        try:
            return super()._at(number, work, write=write)
        except ValueError as error:
            raise CorruptRow(f"a row {error}") from None
