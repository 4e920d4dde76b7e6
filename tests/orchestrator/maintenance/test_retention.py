"""G7: what goes by itself and what never does; room is really given back. B15: the history of what happened."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import new_run_id
from po_jupyter.orchestrator.maintenance.retention import (
    DAY,
    RetentionPolicy,
    RunCleaner,
    policy_of,
    tree_bytes,
)
from po_jupyter.orchestrator.maintenance.service import clean_runs
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit, NewRun
from tests.support.orchestrator import orchestrator

EVERY = ("pending", "running", "waiting", "done", "failed", "cancelled", "dead")


class Shelf:
    """A data directory with runs in chosen states."""

    def __init__(self, data_dir: Path, **more: Any) -> None:
        self.settings = Settings(data_dir=data_dir, store_shards=2, **more)
        self.store = DiskStore(data_dir / "store", shards=2)
        self.retention = RunCleaner(self.settings, self.store, RunProjections(self.store))

    def run(self, state: str, *, kilobytes: int = 1, seed: Any = None, owner: str = "me") -> str:
        run = new_run_id()
        definition = {"pipeline": {}, "seed": {"name": "n", "data": seed or {}}}
        created = draft(
            "run.created", name="n", pipeline="p", version="1.0.0", tasks=[], owner=owner, budget={}
        )
        self.store.create_run(NewRun(run, owner, "p", "1.0.0", "n", 0, definition, [created]))
        lease = self.store.claim(run, {"pid": 1})
        # Of many letters: the store packs what repeats itself.
        self.store.commit(lease, Commit(payloads=[os.urandom(512 * kilobytes).hex()]))
        self.store.commit(lease, Commit(events=[draft("x")], state=state, release=True))
        artifact = self.settings.data_dir / "runs" / run / "artifacts" / "a"
        artifact.parent.mkdir(parents=True)
        artifact.write_bytes(b"x" * 1000 * kilobytes)
        return run

    def left(self) -> list[str]:
        return sorted(h["run"] for h in self.store.runs(limit=1000).heads)

    def clean(self, policy: RetentionPolicy, days: float = 0) -> list[str]:
        doomed = self.retention.plan(policy, at=time.time() + days * DAY)
        return [d.run for d in doomed if self.retention.delete(d)]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    found = Shelf(tmp_path / "data")
    yield found
    found.store.close()


def test_only_finished_runs_go_by_themselves_and_after_30_days(shelf: Shelf) -> None:
    """G7: nothing that is resumable or waiting, however old."""
    runs = {state: shelf.run(state) for state in EVERY}
    policy = policy_of(shelf.settings)
    assert shelf.clean(policy, days=29) == []
    assert shelf.clean(policy, days=3650) == [runs["done"]]
    assert shelf.left() == sorted(r for s, r in runs.items() if s != "done")
    with pytest.raises(NotFound):
        shelf.store.head(runs["done"])
    assert not (shelf.settings.data_dir / "runs" / runs["done"]).exists()


def test_what_can_be_resumed_goes_only_when_days_are_set(tmp_path: Path) -> None:
    """G7: each state has days of its own; what has not ended has none, and cannot be given any."""
    shelf = Shelf(tmp_path / "data", retention_done=0, retention_failed=90, retention_dead=10)
    runs = {state: shelf.run(state) for state in EVERY}
    policy = policy_of(shelf.settings)
    assert set(policy.days) == {"failed", "dead"}
    assert shelf.clean(policy, days=50) == [runs["dead"]]
    assert shelf.clean(policy, days=91) == [runs["failed"]]
    everything = RetentionPolicy(dict.fromkeys(EVERY, 0.0))
    assert set(shelf.clean(everything, days=10_000)) == {runs["done"], runs["cancelled"]}
    assert shelf.left() == sorted(runs[s] for s in ("pending", "running", "waiting"))
    shelf.store.close()


def test_above_the_size_limit_the_oldest_go_first(tmp_path: Path) -> None:
    """G7: by total size, only states that have days."""
    shelf = Shelf(tmp_path / "data", retention_max_bytes=1_000_000)
    kept = shelf.run("failed", kilobytes=300)
    runs = [shelf.run("done", kilobytes=100) for _ in range(6)]
    took = shelf.retention.bytes_of(runs[0])
    assert 150_000 < took < 230_000, "the payload and the artifact"
    before = shelf.retention.used()["runs"]["bytes"]
    gone = shelf.clean(policy_of(shelf.settings))
    assert gone == runs[: len(gone)]
    assert before - len(gone) * took <= 1_000_000 < before - (len(gone) - 1) * took
    assert kept in shelf.left()
    shelf.store.close()


def test_a_run_that_changed_after_it_was_planned_stays(shelf: Shelf) -> None:
    """G7, P12: somebody resumed it meanwhile."""
    run = shelf.run("done")
    (doomed,) = shelf.retention.plan(RetentionPolicy({"done": 0.0}))
    shelf.store.request(run, [draft("run.resumed", by="me")], "pending")
    assert not shelf.retention.delete(doomed)
    lease = shelf.store.claim(run, {"pid": 1})
    shelf.store.commit(lease, Commit(events=[draft("run.done")], state="done", release=True))
    assert not shelf.retention.delete(doomed), "it ended anew, and is young again"
    assert shelf.left() == [run]


def test_room_is_really_given_back(shelf: Shelf) -> None:
    """G7: the files on the disk shrink, the journal of the database too."""
    runs = [shelf.run("done", kilobytes=200) for _ in range(20)]
    shelf.retention.reclaim()
    full = tree_bytes(shelf.settings.data_dir)
    assert full > 20 * 300_000
    shelf.clean(RetentionPolicy({"done": 0.0}))
    shelf.retention.reclaim()
    assert tree_bytes(shelf.settings.data_dir) < full / 20
    assert shelf.left() == []
    assert len(runs) == 20


async def test_what_a_cleaning_gives_back_is_what_the_store_took_before_it(shelf: Shelf) -> None:
    """Not what the journal of its own deletions took in the meantime."""
    for _ in range(60):
        shelf.run("done", kilobytes=1)
    shelf.retention.reclaim()
    before = shelf.retention.store_bytes()
    unwatched: Any = SimpleNamespace(changed=lambda run: None, append=lambda **entry: None)
    report = await clean_runs(
        shelf.retention,
        RetentionPolicy({"done": 0.0}),
        changes=unwatched,
        audit=unwatched,
        to_thread=asyncio.to_thread,
        by="me",
    )
    assert len(report["runs"]) == 60
    assert 0 < report["returned"] < before


def test_sizes_are_shown_by_state_and_owner(shelf: Shelf) -> None:
    """G7."""
    shelf.run("done", kilobytes=100)
    shelf.run("failed", kilobytes=10)
    shelf.run("done", kilobytes=10, owner="you")
    used = shelf.retention.used("me")
    assert {s: v["runs"] for s, v in used["runs"]["states"].items()} == {"done": 1, "failed": 1}
    assert (
        used["runs"]["states"]["done"]["bytes"] > 150_000 > used["runs"]["states"]["failed"]["bytes"] > 10_000
    )
    assert used["runs"]["bytes"] == sum(s["bytes"] for s in used["runs"]["states"].values())
    assert used["store"] > 0
    assert used["files"] >= 120_000
    assert used["free"] > 0


def test_what_belongs_to_no_run_is_swept(shelf: Shelf) -> None:
    """R2.3, G7: directories that a crash left and rows that nobody uses; not what is young or in use."""
    folder, sha = shelf.settings.data_dir, ["a" * 64, "b" * 64, "c" * 64]
    run = shelf.run("failed", seed={"deep": [{"rows": {"$rows": sha[0], "count": 2}}]})
    for name in (new_run_id(), new_run_id()):
        (folder / "runs" / name / "artifacts").mkdir(parents=True)
    orphan, young = sorted(p.name for p in (folder / "runs").iterdir() if p.name != run)
    (folder / "runs" / "notes").mkdir()
    blobs = folder / "blobs" / "owner"
    blobs.mkdir(parents=True)
    for name in sha:
        (blobs / name).write_bytes(b"x" * 100)
    old = time.time() - 2 * DAY
    for path in (folder / "runs" / orphan, folder / "runs" / "notes", *(blobs / n for n in sha[:2])):
        os.utime(path, (old, old))
    assert shelf.retention.sweep() == 100
    assert sorted(p.name for p in (folder / "runs").iterdir()) == sorted([run, young, "notes"])
    assert sorted(p.name for p in blobs.iterdir()) == [sha[0], sha[2]]


def test_rows_that_are_submitted_while_the_runs_are_counted_stay(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P12: a run that was made a moment ago finds its rows."""
    blob = shelf.settings.data_dir / "blobs" / "owner" / ("a" * 64)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    os.utime(blob, (time.time() - 2 * DAY,) * 2)
    count = shelf.retention._used_blobs

    def meanwhile() -> set[str]:
        used = count()
        os.utime(blob)  # what a submit does first
        shelf.run("failed", seed={"rows": {"$rows": "a" * 64, "count": 1}})
        return used

    monkeypatch.setattr(shelf.retention, "_used_blobs", meanwhile)
    assert shelf.retention.sweep() == 0
    assert blob.exists()


@pytest.mark.integration
async def test_cleaning_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """P9: the loop ticks while hundreds of runs are deleted."""
    shelf = Shelf(tmp_path / "data")
    for _ in range(150):
        shelf.run("done")
    shelf.store.close()
    async with orchestrator(tmp_path / "data") as service:
        longest, last, going = 0.0, time.perf_counter(), True

        async def tick() -> None:
            nonlocal longest, last
            while going:
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.perf_counter() - last), time.perf_counter()

        ticking = asyncio.create_task(tick())
        assert len((await service.maintenance.clean(None, older_than=0))["runs"]) == 150
        going = False
        await ticking
    assert longest < 0.5, f"{longest:.3f} s"
