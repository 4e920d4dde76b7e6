"""The keeper: a run that nobody watched has its snapshot when it has ended."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.views import snapshot_keeper, snapshots
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.snapshot_keeper import SnapshotKeeper
from po_jupyter.orchestrator.views.snapshots import FoldedRun
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Head
from tests.support.engine import wait_until
from tests.support.stored_runs import RUN, store_run


class Watched(MemoryStore):
    """Says when a snapshot is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def keep_snapshots(self, values: object) -> None:
        super().keep_snapshots(values)
        self.loop.call_soon_threadsafe(self.kept.set)


@pytest.fixture
async def store() -> Watched:
    return Watched()


async def keeping(store: Watched) -> tuple[SnapshotKeeper, ChangeFeed]:
    changes = ChangeFeed()
    keeper = SnapshotKeeper(store, RunProjections(store), changes, asyncio.to_thread, pause=0.0)
    keeper.start()
    return keeper, changes


async def test_a_run_that_has_ended_gets_its_snapshot(store: Watched) -> None:
    keeper, changes = await keeping(store)
    store_run(store)
    changes.changed(RUN)
    changes.changed("f" * 22)  # one that is gone
    store.request(RUN, [draft("run.done")], state="done")
    changes.changed(RUN)
    async with asyncio.timeout(10):
        await store.kept.wait()
    assert store.snapshots([RUN])[RUN]["state"]["state"] == "done"
    await keeper.close()
    changes.changed(RUN)  # nobody listens any more


async def test_a_long_run_gets_one_on_its_way(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (snapshot_keeper, snapshots):
        monkeypatch.setattr(module, "EVERY", 5)
    keeper, changes = await keeping(store)
    store_run(store)
    store.request(RUN, [draft("task.stage", "one", stage=f"s{i}", round=0) for i in range(6)], state="running")
    changes.changed(RUN)
    async with asyncio.timeout(10):
        await store.kept.wait()
    assert store.snapshots([RUN])[RUN]["state"]["offset"] == 7
    await keeper.close()


async def test_a_run_that_cannot_be_folded_ends_neither_the_keeper_nor_the_others(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "e" * 22
    fold = RunProjections._fold

    def broken(self: RunProjections, head: Head, known: FoldedRun | None) -> FoldedRun:
        if head["run"] == odd:
            raise KeyError("total")
        return fold(self, head, known)

    monkeypatch.setattr(RunProjections, "_fold", broken)
    keeper, changes = await keeping(store)
    for run in (odd, RUN):
        store_run(store, run=run)
        store.request(run, [draft("run.done")], state="done")
        changes.changed(run)
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await store.kept.wait()
        await wait_until(lambda: logs)  # whichever of the two came first
    assert RUN in store.snapshots([RUN])
    assert [line["run"] for line in logs] == [odd]
    await keeper.close()
