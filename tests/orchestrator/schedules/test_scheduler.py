"""The job that wakes when a schedule is due, with a clock of the test's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.schedules.runner import SlotReport, SlotRun
from po_jupyter.orchestrator.schedules.scheduler import LONGEST, Scheduler
from tests.support.schedules import Clockwork


class Job:
    def __init__(self, clockwork: Clockwork, tmp: Path) -> None:
        self.started: asyncio.Queue[SlotRun] = asyncio.Queue()
        self.changes = ChangeFeed()
        self.audit = AuditLog(tmp / "audit")
        self.scheduler = Scheduler(
            clockwork.schedules, clockwork.runner, changes=self.changes, audit=self.audit,
            to_thread=asyncio.to_thread, started=self.started.put, clock=lambda: clockwork.now,
        )  # fmt: skip


@pytest.fixture
def job(clockwork: Clockwork, tmp_path: Path) -> Job:
    return Job(clockwork, tmp_path)


async def test_it_sleeps_until_the_next_slot_and_never_for_long(clockwork: Clockwork, job: Job) -> None:
    assert await job.scheduler.look() == LONGEST
    clockwork.add()
    assert await job.scheduler.look() == LONGEST, "others may add one, and clocks jump"
    clockwork.now += timedelta(minutes=59, seconds=57)
    assert await job.scheduler.look() == 3
    clockwork.now += timedelta(seconds=2, milliseconds=999)
    assert 0 < await job.scheduler.look() < 1


async def test_the_run_of_a_slot_is_handed_on_and_written_down(clockwork: Clockwork, job: Job) -> None:
    clockwork.add()
    clockwork.now += timedelta(hours=1)
    await job.scheduler.look()
    run = job.started.get_nowait()
    entries, _ = job.audit.read()
    assert [(e["by"], e["action"], e["run"], e["schedule"]) for e in entries] == [
        ("schedule", "submit", run.head["run"], "s1")
    ]


async def test_a_schedule_that_fails_keeps_no_other_waiting(
    clockwork: Clockwork, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    clockwork.add(id="a")
    clockwork.add(id="b")
    advance = clockwork.runner.advance

    def failing(key: str, now: object) -> SlotReport | None:
        if key == "local/a":
            raise ValueError("no sense")
        return advance(key, now)  # type: ignore[arg-type]

    monkeypatch.setattr(clockwork.runner, "advance", failing)
    clockwork.now += timedelta(hours=1)
    await job.scheduler.look()
    assert job.started.qsize() == 1


async def test_a_pause_is_written_down_with_its_reason(clockwork: Clockwork, job: Job) -> None:
    clockwork.add()
    clockwork.registry.delete("greet", "local")
    clockwork.now += timedelta(hours=1)
    await job.scheduler.look()
    entries, _ = job.audit.read()
    assert entries[0]["action"] == "pause_schedule"
    assert "greet" in str(entries[0]["reason"])


async def test_a_slot_that_waits_goes_when_the_run_before_it_ends(clockwork: Clockwork, job: Job) -> None:
    """It is told of the end, and does not look for it."""
    clockwork.add(overlap="queue")
    clockwork.now += timedelta(hours=1)
    job.scheduler.start()
    async with asyncio.timeout(10):
        first = await job.started.get()
        clockwork.now += timedelta(hours=1)
        await job.scheduler.look()
        clockwork.end(first.head["run"])
        job.changes.changed(first.head["run"])
        second = await job.started.get()
    assert second.head["name"] == "greet 2026-03-02T14:00:00Z"
    await job.scheduler.close()


async def test_a_store_that_fails_is_asked_again(
    clockwork: Clockwork, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = clockwork.schedules.keys
    failures = [StoreUnusable("busy"), ValueError("a fault")]

    def failing() -> list[str]:
        job.scheduler._wake.set()
        if failures:
            raise failures.pop()
        return keys()

    monkeypatch.setattr(clockwork.schedules, "keys", failing)
    clockwork.add()
    clockwork.now += timedelta(hours=1)
    job.scheduler.start()
    async with asyncio.timeout(10):
        await job.started.get()
    await job.scheduler.close()
