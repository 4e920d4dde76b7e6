"""The scheduler: a job of whoever holds the store, which wakes when a schedule is due.

It reads the schedules from the store each time (P1): others may have changed them, and clocks jump. So it sleeps until
the next slot, and never for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from po_jupyter.errors import PoError
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.dispatch.protocol import Dispatcher
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.schedules.records import ScheduleStore
from po_jupyter.orchestrator.schedules.runner import SlotReport, SlotRun, SlotRunner
from po_jupyter.orchestrator.threads import ToThread

log = structlog.get_logger(__name__)

LONGEST = 15.0  # s until the schedules are looked at anyway
_SHORTEST = 0.2  # s between two looks
_BY = "schedule"  # who, in the audit log


def utc_now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(UTC)


async def work_off(dispatcher: Dispatcher, run: SlotRun) -> None:
    """Have the run of a slot worked off."""
    if run.new is not None:
        await dispatcher.submitted(run.head, RunDefinition.from_json(run.new.definition))
    else:
        await dispatcher.changed(run.head["run"])


class Scheduler:
    """Has the slots of all schedules settled, on the orchestrator's loop, in threads."""

    def __init__(
        self,
        schedules: ScheduleStore,
        runner: SlotRunner,
        *,
        changes: ChangeFeed,
        audit: AuditLog,
        to_thread: ToThread,
        started: Callable[[SlotRun], Awaitable[None]],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`started` has the run of a slot worked off."""
        self._schedules = schedules
        self._runner = runner
        self._changes = changes
        self._audit = audit
        self._to_thread = to_thread
        self._started = started
        self._clock = clock
        self._former: set[str] = set()  # runs that a slot waits for
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._changes.add_listener(self._on_change)
        self._task = asyncio.create_task(self._work(), name="schedules")

    async def close(self) -> None:
        """End; a slot that is being settled is settled."""
        self._changes.remove_listener(self._on_change)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_change(self, run: str) -> None:
        if run in self._former:
            self._wake.set()

    async def _work(self) -> None:
        while True:
            pause = LONGEST
            try:
                pause = await self.look()
            except PoError as error:
                log.error("the schedules cannot be read", error=error.message, hint=error.hint)
            except Exception:
                log.exception("the schedules failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    async def look(self) -> float:
        """Settle what is due; the seconds until the next look. Raises StoreError."""
        former: set[str] = set()
        next_at: datetime | None = None
        for key in await self._to_thread(self._schedules.keys):
            # Shielded: what a thread has begun it ends, and its runs must be heard of.
            report = await asyncio.shield(self._advance(key))
            if report is None:
                continue
            if report.former is not None:
                former.add(report.former)
            if report.next_at is not None:
                next_at = min(next_at or report.next_at, report.next_at)
        self._former = former
        if next_at is None:
            return LONGEST
        return min(LONGEST, max(_SHORTEST, (next_at - self._clock()).total_seconds()))

    async def _advance(self, key: str) -> SlotReport | None:
        try:
            report = await self._to_thread(self._runner.advance, key, self._clock())
        except PoError as error:
            log.error("a schedule waits", schedule=key, error=error.message, hint=error.hint)
            return None
        except Exception:  # the others are not kept waiting
            log.exception("a schedule failed", schedule=key)
            return None
        if report is None:
            return None
        schedule = key.rpartition("/")[2]
        for run in report.runs:
            head = run.head
            await self._started(run)
            if run.new is not None:
                log.info("scheduled", schedule=schedule, run=head["run"], pipeline=head["pipeline"])
                about = {"schedule": schedule, "run": head["run"], "pipeline": head["pipeline"]}
                await self._to_thread(partial(self._audit.append, by=_BY, action="submit", **about))
        if report.paused is not None:
            log.warning("a schedule is paused", schedule=schedule, reason=report.paused)
            about = {"schedule": schedule, "reason": report.paused[:500]}
            await self._to_thread(partial(self._audit.append, by=_BY, action="pause_schedule", **about))
        return report
