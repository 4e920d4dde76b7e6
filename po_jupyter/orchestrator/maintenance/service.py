"""What the holder of the store does beside its workers: pipelines from files, the watch folder, retention."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from po_jupyter.config import Settings
from po_jupyter.config.owner import default_owner
from po_jupyter.errors import PoError
from po_jupyter.orchestrator.environment.key_store import Keys
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.orchestrator.maintenance import call_cache
from po_jupyter.orchestrator.maintenance.retention import DAY, Doomed, Policy, Retention, policy_of
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import Registry
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.store.protocol import Head, NewRun, Store

log = structlog.get_logger(__name__)

_FIRST = 60.0  # s after the start until the first cleaning: a start has better things to do


class Keeping:
    """Started when the store's lease is taken, closed when it is lost."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        registry: Registry,
        views: Views,
        feed: Feed,
        *,
        audit: AuditLog,
        run_off_loop: Callable[..., Awaitable[Any]],
        created: Callable[[NewRun, Head, bool], Awaitable[None]],
        keys: Keys | None = None,
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._audit = audit
        self._do = run_off_loop
        self._retention = Retention(settings, store, views)
        self._pipelines = (
            PipelineFiles(settings.pipelines_dir, registry, default_owner())
            if settings.pipelines_dir is not None
            else None
        )
        self._inbox = None
        if settings.inbox_dir is not None:
            from po_jupyter.orchestrator.inbox.folder import Folder
            from po_jupyter.orchestrator.inbox.watcher import Inbox

            folder = Folder(
                settings, store, registry, owner=default_owner(), pipelines=self._pipelines, keys=keys
            )
            self._inbox = Inbox(
                folder, settings, feed=feed, audit=audit, run_off_loop=run_off_loop, created=created
            )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the pipelines, then watch and clean in the background."""
        if self._pipelines is not None:
            try:
                await self._do(self._pipelines.refresh)
            except PoError as error:
                log.error("the pipelines' files were not read", error=error.message)
            self._tasks.append(asyncio.create_task(self._refresh(self._pipelines), name="pipelines"))
        if self._inbox is not None:
            self._inbox.start()
        self._tasks.append(asyncio.create_task(self._clean(), name="retention"))

    async def close(self) -> None:
        """Stop; what a thread has begun it ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._inbox is not None:
            await self._inbox.close()

    async def _refresh(self, pipelines: PipelineFiles) -> None:
        while True:
            await asyncio.sleep(self._settings.inbox_rescan)
            try:
                await self._do(pipelines.refresh)
            except PoError as error:
                log.error("the pipelines' files were not read", error=error.message)

    async def _clean(self) -> None:
        await asyncio.sleep(_FIRST)
        while True:
            try:
                await clean(
                    self._retention, policy_of(self._settings), feed=self._feed, audit=self._audit,
                    run_off_loop=self._do, by="retention",
                )  # fmt: skip
            except PoError as error:
                log.error("the runs were not cleaned", error=error.message)
            await self._do(call_cache.tend, self._settings)
            await asyncio.sleep(self._settings.retention_every * DAY)


async def clean(
    retention: Retention,
    policy: Policy,
    *,
    feed: Feed,
    audit: AuditLog,
    run_off_loop: Callable[..., Awaitable[Any]],
    by: str,
    owner: str | None = None,
    dry_run: bool = False,
    patience: float = float("inf"),
) -> dict[str, Any]:
    """Delete what the policy says.

    Answers `{runs: [{run, state, name, ended_at, bytes, why}], bytes, returned, dry_run, more}`; `more` when
    `patience`, in seconds, ended before the work did. One run at a time, each in a thread: the store is held up
    for no longer than one deletion takes.
    """
    until = time.monotonic() + patience
    doomed = await run_off_loop(partial(retention.plan, policy, owner=owner))
    gone: list[Doomed] = []
    more = False
    if not dry_run:
        await run_off_loop(partial(retention.count, doomed))
    for one in doomed if not dry_run else ():
        if time.monotonic() > until:
            more = True
            break
        if await run_off_loop(retention.delete, one):
            gone.append(one)
            feed.changed(one.run)
            told = {"run": one.run, "name": one.name, "state": one.state, "why": one.why}
            await run_off_loop(partial(audit.append, by=by, action="delete_run", **told))
    returned = 0
    if dry_run:
        gone = doomed
    else:
        await run_off_loop(retention.sweep)
        returned = await run_off_loop(retention.reclaim)
        if gone:
            log.info("cleaned", runs=len(gone), bytes=sum(d.bytes for d in gone), returned=returned)
    return {
        "runs": [d._asdict() for d in gone],
        "bytes": sum(d.bytes for d in gone),
        "returned": returned,
        "dry_run": dry_run,
        "more": more,
    }
