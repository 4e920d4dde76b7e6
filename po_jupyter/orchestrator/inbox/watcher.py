"""The watch folder (B9): a seed file dropped into `pending` becomes a run.

    pending/NAME  →  current/RUN/NAME  →  complete/RUN/NAME    beside `definition.json` and `result.json`
    pending/NAME  →  rejected/NAME                             beside NAME.reason.json

A file is read once nobody writes to it any more, checked whole before anything moves (R1.1), and moved together
with the creation of its run, so that a crash at any instant leaves both or none of both (R2.3). Events of the
file system are hints (P1): the folder is looked through at the start and from time to time anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, StoreError
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.inbox.folder import InboxFolder, TakenFile, name_as_text
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import Head, NewRun

log = structlog.get_logger(__name__)


class InboxWatcher:
    """Watches a `Folder` on the orchestrator's loop, all file work in threads.

    `created(new, head, fresh)` is awaited for each run; `fresh`: it was not there before.
    """

    def __init__(
        self,
        folder: InboxFolder,
        settings: Settings,
        *,
        changes: ChangeFeed,
        audit: AuditLog,
        to_thread: ToThread,
        created: Callable[[NewRun, Head, bool], Awaitable[None]],
    ) -> None:
        """`created` has the new run worked off."""
        self._folder = folder
        self._settings = settings
        self._changes = changes
        self._audit = audit
        self._to_thread = to_thread
        self._created = created
        self._wake = asyncio.Event()
        self._touched: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Watch from now on."""
        self._changes.add_listener(self._run_changed)
        self._tasks = [asyncio.create_task(self._work(), name="inbox")]

    async def close(self) -> None:
        """Stop watching; a file that is being taken in is taken in."""
        self._changes.remove_listener(self._run_changed)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._to_thread(self._folder.close)

    def _run_changed(self, run: str) -> None:
        self._touched.add(run)
        self._wake.set()

    async def _work(self) -> None:
        opened = False
        while True:
            due: float | None = None
            try:
                if not opened:
                    await self._to_thread(self._folder.open)
                    opened = True
                    self._tasks.append(asyncio.create_task(self._watch(), name="inbox watch"))
                    self._touched.update(await self._to_thread(self._folder.current_runs))
                due = await self._look_through()
            except PoError as error:
                log.error("the watch folder cannot be worked on", error=error.message, hint=error.hint)
            except Exception:
                log.exception("the watch folder failed")
            rescan = self._settings.inbox_rescan
            try:
                async with asyncio.timeout(min(rescan, due) if due is not None else rescan):
                    await self._wake.wait()
                await asyncio.sleep(self._settings.inbox_debounce)
            except TimeoutError:
                if due is None and opened:
                    self._touched.update(await self._to_thread(self._folder.current_runs))
            self._wake.clear()

    async def _look_through(self) -> float | None:
        """Take in what is ready, put away what ended; seconds until the next look, or None."""
        touched, self._touched = self._touched, set()
        for run in touched:
            try:
                await self._to_thread(self._folder.settle, run)
            except PoError as error:
                log.error("cannot put the files of a run away", run=run, error=error.message)
        names, due = await self._to_thread(self._folder.ready)
        for name in names:
            # Shielded: what a thread has begun it ends, and its run must be heard of.
            await asyncio.shield(self._take_in(name))
        return float(due) if due is not None else None

    async def _take_in(self, name: str) -> None:
        try:
            taken: TakenFile = await self._to_thread(self._folder.take_in, name)
        except StoreError as error:
            log.error("a seed waits", file=name_as_text(name), error=error.message, hint=error.hint)
            return
        if taken.rejected is not None:
            await self._to_thread(
                partial(self._audit.append, by="inbox", action="reject_seed", file=name_as_text(name))
            )
        elif taken.new is not None and taken.head is not None:
            run = taken.head["run"]
            await self._to_thread(
                partial(self._audit.append, by="inbox", action="submit", run=run, file=name_as_text(name))
            )
            self._touched.add(run)
            await self._created(taken.new._replace(run=run), taken.head, taken.fresh)

    async def _watch(self) -> None:
        from watchfiles import awatch

        polling: bool | None = None
        while True:
            try:
                async for _ in awatch(
                    self._folder.pending, watch_filter=None, recursive=False, force_polling=polling,
                    debounce=max(10, int(self._settings.inbox_debounce * 1000)), step=10,
                ):  # fmt: skip
                    self._wake.set()
            except (
                Exception
            ) as error:  # it is a Rust library's: no more inotify handles, the folder is gone, ...
                log.warning("the folder is polled, because it cannot be watched", error=str(error)[:200])
                polling = True
            await asyncio.sleep(self._settings.inbox_rescan)
