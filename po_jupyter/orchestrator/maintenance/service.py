"""Maintenance: cleaning and usage as people ask for them, and the jobs that the holder of the store does by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NotRequired, Protocol, TypedDict

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.run.names import actor_of
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.team import Team, today_of
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.maintenance import call_cache
from po_jupyter.orchestrator.maintenance.call_cache import CacheSize
from po_jupyter.orchestrator.maintenance.retention import (
    DAY,
    Deletion,
    RetentionPolicy,
    RunCleaner,
    policy_of,
)
from po_jupyter.orchestrator.notifications.report import ChannelReport, channel_reports
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.store.protocol import Store
from po_jupyter.telemetry.correlation import actor

log = structlog.get_logger(__name__)

_FIRST = 60.0  # s after the start until the first cleaning: a start has better things to do
Attend = Callable[[str], Awaitable[None]]  # has what the log of a run asks for done
_PATIENCE = 10.0  # s that one request to clean may take; its caller asks again


class CleanReport(TypedDict):
    """The report of a cleaning: what it deleted, or with `dry_run` would delete.

    `runs` are as `Deletion` has them, `bytes` is their size, `returned` the bytes that the disk got back. `more`:
    it ended before all was done. `cache` is there for a cleaning of cached answers.
    """

    runs: list[JsonObject]
    bytes: int
    returned: int
    dry_run: bool
    more: bool
    cache: NotRequired[CacheSize]


class Maintenance:
    """Cleaning and usage on request. `owner` None means everybody's runs."""

    def __init__(
        self,
        settings: Settings,
        cleaner: RunCleaner,
        daily_usage: DailyUsage,
        changes: ChangeFeed,
        audit: AuditLog,
        to_thread: ToThread,
        *,
        store: Store,
        team: Team | None = None,
        attend: Attend | None = None,
    ) -> None:
        """Deletes and measures in threads. `team` is the gateway of a hub; `attend` as in `clean_runs`."""
        self._team = team
        self._attend = attend
        self._settings = settings
        self._cleaner = cleaner
        self._daily_usage = daily_usage
        self._changes = changes
        self._audit = audit
        self._to_thread = to_thread
        self._store = store

    async def clean(
        self,
        owner: str | None,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> CleanReport:
        """Delete old runs; with `cache` the cached answers of models instead.

        With `older_than` (days): runs in one of `states`, or else only finished ones. Without: what the settings of
        retention say. Only ended runs are ever deleted; `dry_run` deletes nothing. InvalidInput for what does not go
        together.
        """
        if cache:
            if older_than is not None or states:
                raise InvalidInput(
                    "`cache` is about answers, `older_than` and `states` are about runs",
                    hint="Clean one after the other.",
                )
            size = await self._to_thread(call_cache.clear, self._settings, owner, dry_run=dry_run)
            return {"runs": [], "bytes": 0, "returned": 0, "dry_run": dry_run, "more": False, "cache": size}
        policy = policy_of(self._settings)._replace(max_bytes=0)
        if older_than is not None:
            policy = RetentionPolicy(dict.fromkeys(states or ("done",), older_than))
        elif states:
            raise InvalidInput("`states` needs `older_than`", hint="For example 30 days; 0 means all of them.")
        return await clean_runs(
            self._cleaner, policy, changes=self._changes, audit=self._audit, to_thread=self._to_thread,
            by=actor.get() or actor_of(owner), owner=owner, dry_run=dry_run, patience=_PATIENCE,
            attend=self._attend,
        )  # fmt: skip

    async def usage(self, owner: str | None, *, days: int = 30) -> JsonObject:
        """Usage of the last `days` days and the room that runs take: `{days, total, by_pipeline, owners?, today?, hub?,
        disk}` as `DailyUsage.report` and `RunCleaner.used` say it; `today` is an owner's day beside its limits: on a
        hub in dollars those of the gateway, of which `hub` has all."""
        used = await self._to_thread(self._daily_usage.report, owner, days)
        if owner is not None:
            used["today"] = await self._to_thread(self._today, owner, used["days"])
        if self._team is not None:
            team = await self._to_thread(self._team.usage)
            used["hub"] = {**team}
            if owner is not None and (today := today_of(team)) is not None:
                used["today"]["usd"] = today
        return {**used, "disk": await self._to_thread(self._cleaner.used, owner)}

    def _today(self, owner: str, days: Sequence[JsonObject]) -> JsonObject:
        """`{usd: {used, limit}, tokens: {used, limit}}` of this day (UTC); a limit of None is none."""
        usd, tokens = self._daily_usage.spent_today(owner, days[0] if days else None)
        return {
            "usd": {"used": usd, "limit": self._settings.daily_usd},
            "tokens": {"used": tokens, "limit": self._settings.daily_tokens},
        }

    async def notifications(self) -> list[ChannelReport]:
        """A report about each channel that is told of ends, failures and gates."""
        return await self._to_thread(channel_reports, self._settings, self._store)


class BackgroundJob(Protocol):
    """A job that runs on the loop from `start` to `close`."""

    def start(self) -> None:
        """Begin in the background."""

    async def close(self) -> None:
        """End; what a thread has begun it ends."""


class MaintenanceJobs:
    """The holder's jobs while it has the lease: pipelines from files, retention, and `jobs` (the watch folder, ...)."""

    def __init__(
        self,
        settings: Settings,
        cleaner: RunCleaner,
        changes: ChangeFeed,
        audit: AuditLog,
        to_thread: ToThread,
        *,
        pipelines: PipelineFiles | None,
        jobs: Sequence[BackgroundJob] = (),
        cleans: bool = True,
        attend: Attend | None = None,
    ) -> None:
        """`pipelines` is None where the settings name no such folder. `cleans` is false where another server does;
        `attend` as in `clean_runs`."""
        self._attend = attend
        self._cleans = cleans
        self._settings = settings
        self._cleaner = cleaner
        self._changes = changes
        self._audit = audit
        self._to_thread = to_thread
        self._pipelines = pipelines
        self._jobs = jobs
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the pipelines, then watch and clean in the background."""
        if self._pipelines is not None:
            await self._refresh(self._pipelines)
            self._tasks.append(asyncio.create_task(self._refresh_often(self._pipelines), name="pipelines"))
        for job in self._jobs:
            job.start()
        if self._cleans:
            self._tasks.append(asyncio.create_task(self._clean_often(), name="retention"))

    async def close(self) -> None:
        """Stop; what a thread has begun it ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self._jobs:
            await job.close()

    async def _refresh(self, pipelines: PipelineFiles) -> None:
        try:
            await self._to_thread(pipelines.refresh)
        except PoError as error:
            log.error("the pipelines' files were not read", error=error.message)

    async def _refresh_often(self, pipelines: PipelineFiles) -> None:
        while True:
            await asyncio.sleep(self._settings.inbox_rescan)
            await self._refresh(pipelines)

    async def _clean_often(self) -> None:
        await asyncio.sleep(_FIRST)
        while True:
            try:
                await clean_runs(
                    self._cleaner, policy_of(self._settings), changes=self._changes, audit=self._audit,
                    to_thread=self._to_thread, by="retention", attend=self._attend,
                )  # fmt: skip
            except PoError as error:
                log.error("the runs were not cleaned", error=error.message)
            await self._to_thread(call_cache.tend, self._settings)
            await asyncio.sleep(self._settings.retention_every * DAY)


async def clean_runs(
    cleaner: RunCleaner,
    policy: RetentionPolicy,
    *,
    changes: ChangeFeed,
    audit: AuditLog,
    to_thread: ToThread,
    by: str,
    owner: str | None = None,
    dry_run: bool = False,
    patience: float = float("inf"),
    attend: Attend | None = None,
) -> CleanReport:
    """Delete what the policy says; `more` is true when `patience`, in seconds, ended before the work did. `attend` has
    child runs at work whose run is to go hear that they were told to end.

    One run at a time, each in a thread: the store is busy for no longer than one deletion takes.
    """
    until = time.monotonic() + patience
    planned = await to_thread(partial(cleaner.plan, policy, owner=owner))
    if dry_run:
        return _report(planned, dry_run=True)
    await to_thread(partial(cleaner.count, planned))
    before = await to_thread(cleaner.store_bytes)  # deletions write into the journals, which grow first
    deleted: list[Deletion] = []
    more = False
    for deletion in planned:
        if time.monotonic() > until:
            more = True
            break
        if await to_thread(cleaner.delete, deletion):
            deleted.append(deletion)
            changes.changed(deletion.run)
            entry = {"run": deletion.run, "name": deletion.name, "state": deletion.state, "why": deletion.why}
            await to_thread(partial(audit.append, by=by, action="delete_run", **entry))
    told, cleaner.told = cleaner.told, []
    if attend is not None:
        for child in told:
            await attend(child)
    await to_thread(cleaner.sweep)
    await to_thread(cleaner.reclaim)
    returned = max(0, before - await to_thread(cleaner.store_bytes))
    report = _report(deleted, returned=returned, more=more)
    if deleted:
        log.info("cleaned", runs=len(deleted), bytes=report["bytes"], returned=returned)
    return report


def _report(
    deletions: Sequence[Deletion], *, returned: int = 0, dry_run: bool = False, more: bool = False
) -> CleanReport:
    runs = [deletion._asdict() for deletion in deletions]
    freed = sum(deletion.bytes for deletion in deletions)
    return {"runs": runs, "bytes": freed, "returned": returned, "dry_run": dry_run, "more": more}
