"""Schedules of servers that share a store, with real workers: who holds it makes the runs, once each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.orchestrator.maintenance import store_copy
from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.orchestrator.maintenance.restore import restore
from po_jupyter.orchestrator.schedules import scheduler
from po_jupyter.orchestrator.schedules.records import ScheduleStore, iso, key_of
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.store.disk.store import DiskStore
from tests.support.nodes import api_node
from tests.support.orchestrator import orchestrator, settings, wait_for_state
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.schedules import GREET, OWNER, RIGHTS, Clockwork

pytestmark = pytest.mark.integration
YEARLY = {
    "pipeline": "greet",
    "cron": "0 0 1 1 *",
    "seed": {"data": {"who": "you"}},
}  # none comes due meanwhile


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LONGEST", 0.2)


async def added(service: RunningOrchestrator) -> str:
    """A schedule that has not been looked at since last year; its key."""
    await service.pipelines.put("greet", GREET, owner=OWNER)
    schedule = await service.schedules.add(YEARLY, owner=OWNER, rights=RIGHTS)
    key = key_of(OWNER, str(schedule["id"]))
    past = iso(datetime.now(UTC) - timedelta(days=400))
    ScheduleStore(service.store).change(key, lambda record: {**record, "position": past})
    return key


async def run_of(service: RunningOrchestrator, key: str) -> str:
    """The run of the schedule's last slot, once it is written down."""
    async with asyncio.timeout(20):
        while not (record := ScheduleStore(service.store).read(key)) or record["last_run"] is None:
            await asyncio.sleep(0.05)
    return record["last_run"]


async def test_who_holds_the_store_runs_what_another_server_was_asked_to_schedule(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as holder, orchestrator(tmp_path) as follower:
        assert (holder.dispatcher.is_holder, follower.dispatcher.is_holder) == (True, False)
        key = await added(follower)
        run = await run_of(follower, key)
        view = await wait_for_state(holder, run)
        assert (view.state, view.pipeline) == ("done", "greet")
        views, _ = await holder.runs.page(OWNER)
        assert len(views) == 1
        (brief,) = await follower.schedules.summaries(owner=OWNER)
        assert brief["last"] is not None
        assert (brief["last"]["run"], brief["last"]["state"]) == (run, "done")


@pytest.mark.slow
async def test_the_next_holder_goes_on_with_the_schedules(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as first:
        key = await added(first)
        await wait_for_state(first, await run_of(first, key))
    async with orchestrator(tmp_path) as second:
        past = iso(datetime.now(UTC) - timedelta(days=400))
        ScheduleStore(second.store).change(key, lambda r: {**r, "position": past, "last_run": None})
        await wait_for_state(second, await run_of(second, key))
        views, _ = await second.runs.page(OWNER)
        # The slot that the first one ran is found again, and is no second run.
        assert len(views) == 1


@pytest.mark.slow
async def test_of_several_nodes_the_leader_makes_one_run(tmp_path: Path, server: PostgresServer) -> None:
    """On PostgreSQL; the other node works it off or not."""
    place = server.url()
    async with (
        api_node(tmp_path / "one", place, node_works=True) as one,
        api_node(tmp_path / "two", place, node_works=True) as two,
    ):
        keys = [await added(node) for node in (one, two, two)]
        runs = [await run_of(one, key) for key in keys]
        assert len(set(runs)) == 3
        for run in runs:
            assert (await wait_for_state(two, run)).state == "done"
        views, _ = await two.runs.page(OWNER)
        assert sorted(view.id for view in views) == sorted(runs)


async def test_what_is_wrong_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        await service.pipelines.put("greet", GREET, owner=OWNER)
        with pytest.raises(InvalidInput):
            await service.schedules.add({**YEARLY, "cron": "x"}, owner=OWNER, rights=RIGHTS)
        assert await service.schedules.summaries(owner=OWNER) == []


def scheduled(data_dir: Path, tmp: Path) -> tuple[Clockwork, str]:
    """A store with a schedule whose first slot has its run, and the files that it had."""
    clockwork = Clockwork(tmp, DiskStore(data_dir / "store", shards=2))
    (clockwork.project / "a.csv").write_text("text\na\n")
    clockwork.add(pipeline="rows", seed={"files": "*.csv", "only_new": True})
    (run,) = clockwork.look(hours=1).runs
    clockwork.end_all()
    return clockwork, run.head["run"]


def goes_on(data_dir: Path, before: Clockwork, run: str) -> None:
    """The schedule of a copy: what was done is done there too, and the next slot comes."""
    copy = Clockwork(before.project.parent, DiskStore(data_dir / "store"))
    copy.now = before.now
    assert copy.look().runs == []
    copy.look(hours=1)
    assert copy.told() == [("03-02T13:00", "run"), ("03-02T14:00", "nothing")]
    (copy.project / "b.csv").write_text("text\nb\n")
    assert len(copy.look(hours=1).runs) == 1
    # As if a kill had come between the run and what was written down of it: its key came along too.
    copy.schedules.change(
        "local/s1", lambda r: {**r, "waiting": [{"slot": "2026-03-02T13:00:00Z", "late": False}]}
    )
    copy.end_all()
    (again,) = copy.look().runs
    assert (again.head["run"], again.new) == (run, None)
    copy.store.close()


def test_a_copy_of_the_store_takes_schedules_along(tmp_path: Path) -> None:
    before, run = scheduled(tmp_path / "old", tmp_path)
    before.store.close()
    report = asyncio.run(
        store_copy.copy(
            settings(tmp_path / "files", lease_ttl=5.0),
            str(tmp_path / "old"),
            str(tmp_path / "new"),
            lambda *_: None,
        )
    )
    assert report["documents"] == 5, "three pipelines, the schedule and its file"
    goes_on(tmp_path / "new", before, run)


def test_a_backup_takes_schedules_along(tmp_path: Path) -> None:
    before, run = scheduled(tmp_path / "old", tmp_path)
    back_up(tmp_path / "old", tmp_path / "a.tar.gz")
    before.store.close()
    restore(tmp_path / "a.tar.gz", tmp_path / "new", allow_network=False)
    goes_on(tmp_path / "new", before, run)
