"""Schedules as people ask for them, over a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, Forbidden, InvalidInput, NotFound
from po_jupyter.orchestrator.schedules.records import ScheduleRights
from po_jupyter.orchestrator.schedules.runner import SlotRun
from po_jupyter.orchestrator.schedules.service import Schedules
from po_jupyter.orchestrator.threads import ToThread
from tests.support.schedules import OWNER, RIGHTS, Clockwork

LESS: ScheduleRights = {"code_allowed": False, "token": None, "expires_at": None}
HOURLY = {"pipeline": "greet", "cron": "0 * * * *", "seed": {"data": {"who": "you"}}}


class InThread:
    def of(self, owner: str) -> ToThread:
        return asyncio.to_thread


class Office(Clockwork):
    """Beside the clockwork, what people ask for."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.started: list[str] = []

        async def started(run: SlotRun) -> None:
            self.started.append(run.head["run"])

        self.service = Schedules(
            self.settings, self.store, self.schedules, self.runner, self.registry, self.planner,
            started=started, to_thread=asyncio.to_thread, changing=InThread(), clock=lambda: self.now,
        )  # fmt: skip

    async def added(self, rights: ScheduleRights = RIGHTS, **more: Any) -> dict[str, Any]:
        return await self.service.add({**HOURLY, **more}, owner=OWNER, rights=rights)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


async def test_a_schedule_is_added_listed_shown_and_removed(office: Office) -> None:
    added = await office.added(timezone="Europe/Berlin", budget={"usd": 1}, model="fake:m")
    assert added["next_at"] == "2026-03-02T13:00:00Z"
    assert (added["state"], added["missed"], added["overlap"], added["last"]) == (
        "active",
        "last",
        "skip",
        None,
    )
    (brief,) = await office.service.summaries(owner=OWNER)
    assert brief["id"] == added["id"]
    assert "seed" not in brief
    assert await office.service.get(added["id"], owner=OWNER) == added
    assert await office.service.summaries(owner="bob") == []
    for refused in (office.service.get, office.service.remove):
        with pytest.raises(NotFound):
            await refused(added["id"], owner="bob")  # type: ignore[operator]
    await office.service.remove(added["id"], owner=OWNER)
    assert await office.service.summaries(owner=OWNER) == []


async def test_the_last_slot_is_told_with_the_state_of_its_run(office: Office) -> None:
    added = await office.added()
    office.look(f"{OWNER}/{added['id']}", hours=1)
    (brief,) = await office.service.summaries(owner=OWNER)
    assert brief["last"] is not None
    assert (brief["last"]["outcome"], brief["last"]["state"]) == ("run", "pending")
    office.end_all()
    office.store.delete_run(brief["last"]["run"])
    (brief,) = await office.service.summaries(owner=OWNER)
    assert brief["last"] is not None
    assert brief["last"]["state"] == "deleted"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"cron": "61 * * * *"}, "cron"), ({"timezone": "Mars"}, "timezone"), ({"seed": {}}, "seed"),
        ({"seed": {"data": {}, "files": "a.csv"}}, "seed"), ({"seed": {"data": [1]}}, "seed"),
        ({"seed": {"data": {}, "only_new": True}}, "seed"), ({"seed": {"files": 3}}, "seed"),
        ({"seed": {"files": "a.exe"}}, "seed.files"), ({"seed": {"data": {"x": "x" * 2_000_000}}}, "seed"),
        ({"seed": {"files": "a.csv", "only_new": "yes"}}, "seed"), ({"model": "nonsense"}, "options.model"),
        ({"seed": {"sql": "select 1"}}, "seed"), ({"budget": {"tasks": {"x": {"usd": 1}}}}, "budget.tasks.x"),
        ({"budget": {"tasks": {"x.y": {"usd": 1}}}}, "budget.tasks.x.y"),
        ({"cwd": "/nowhere"}, "cwd"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_when_it_is_added(
    office: Office, wrong: dict[str, Any], where: str
) -> None:
    """P11."""
    with pytest.raises(InvalidInput) as caught:
        await office.added(**wrong)
    assert [violation.where for violation in caught.value.violations] == [where]
    assert office.schedules.keys() == []


async def test_an_unknown_pipeline_and_an_unfit_seed_are_told(office: Office) -> None:
    with pytest.raises(NotFound, match="did you mean"):
        await office.added(pipeline="greeet")
    with pytest.raises(InvalidInput, match="who"):
        await office.added(seed={"data": {}})


async def test_code_needs_its_scope_to_be_scheduled(office: Office) -> None:
    """Adding it, letting it go on, changing it and running it now; to stop it takes nothing."""
    with pytest.raises(Forbidden, match="runs no code"):
        await office.added(LESS, pipeline="code")
    with pytest.raises(Forbidden, match="runs no code"):
        await office.added(LESS, pipeline="code", seed={"files": "a.csv"})
    added = await office.added(pipeline="code")
    asked: list[Callable[[], Any]] = [
        lambda: office.service.change(added["id"], {"cron": "1 * * * *"}, owner=OWNER, rights=LESS),
        lambda: office.service.replace(added["id"], {**HOURLY, "pipeline": "code"}, owner=OWNER, rights=LESS),
        lambda: office.service.run(added["id"], owner=OWNER, rights=LESS),
    ]
    for ask in asked:
        with pytest.raises(Forbidden):
            await ask()
    paused = await office.service.change(added["id"], {"paused": True}, owner=OWNER, rights=LESS)
    assert (paused["state"], paused["reason"], paused["next_at"]) == ("paused", "paused by hand", None)
    with pytest.raises(Forbidden):
        await office.service.change(added["id"], {"paused": False}, owner=OWNER, rights=LESS)
    assert (await office.service.get(added["id"], owner=OWNER))["state"] == "paused"


async def test_what_came_due_while_it_was_paused_is_not_made_up_for(office: Office) -> None:
    added = await office.added(missed="all")
    await office.service.change(added["id"], {"paused": True}, owner=OWNER, rights=RIGHTS)
    key = f"{OWNER}/{added['id']}"
    assert office.look(key, hours=5).runs == []
    resumed = await office.service.change(added["id"], {"paused": False}, owner=OWNER, rights=RIGHTS)
    assert resumed["next_at"] == "2026-03-02T18:00:00Z"
    assert office.look(key).runs == []
    assert len(office.look(key, hours=1).runs) == 1


async def test_a_clock_that_was_years_ahead_is_mended_by_resuming(office: Office) -> None:
    added = await office.added()
    key = f"{OWNER}/{added['id']}"
    office.look(key, days=3650)
    office.end_all()
    office.now -= timedelta(days=3650)
    for pause in (True, False):
        mended = await office.service.change(added["id"], {"paused": pause}, owner=OWNER, rights=RIGHTS)
    assert mended["next_at"] == "2026-03-02T13:00:00Z"


async def test_another_timetable_has_no_slots_in_the_past(office: Office) -> None:
    added = await office.added(cron="0 0 1 1 *", missed="all")
    office.now += timedelta(hours=5)
    await office.service.change(added["id"], {"cron": "*/5 * * * *"}, owner=OWNER, rights=RIGHTS)
    assert office.look(f"{OWNER}/{added['id']}").runs == []
    replaced = await office.service.replace(added["id"], HOURLY, owner=OWNER, rights=RIGHTS)
    assert (replaced["missed"], replaced["cron"]) == ("last", "0 * * * *"), (
        "what a replacement does not name is as at first"
    )


async def test_a_run_by_hand_moves_no_slot(office: Office) -> None:
    added = await office.added()
    run = await office.service.run(added["id"], owner=OWNER, rights=RIGHTS)
    another = await office.service.run(added["id"], owner=OWNER, rights=RIGHTS)
    assert office.started == [run, another]
    office.end_all()
    assert len(office.look(f"{OWNER}/{added['id']}", hours=1).runs) == 1
    assert len(office.runs()) == 3


async def test_a_run_by_hand_takes_new_files_as_a_slot_does(office: Office) -> None:
    (office.project / "a.csv").write_text("text\none\n")
    added = await office.added(pipeline="rows", seed={"files": "*.csv", "only_new": True})
    await office.service.run(added["id"], owner=OWNER, rights=RIGHTS)
    with pytest.raises(Conflict, match="no new file"):
        await office.service.run(added["id"], owner=OWNER, rights=RIGHTS)


async def test_a_token_that_is_revoked_takes_its_schedules_with_it(office: Office) -> None:
    mine = await office.added({"code_allowed": False, "token": "t1", "expires_at": 4e9})
    other = await office.added()
    await office.service.pause_of_token("t1", owner=OWNER)
    states = {brief["id"]: brief["state"] for brief in await office.service.summaries(owner=OWNER)}
    assert states == {mine["id"]: "paused", other["id"]: "active"}
    assert "revoked" in (await office.service.get(mine["id"], owner=OWNER))["reason"]
    await office.service.change(mine["id"], {"paused": False}, owner=OWNER, rights=RIGHTS)
    assert office.record(f"{OWNER}/{mine['id']}")["rights"] == RIGHTS, "who lets it go on answers for it"
