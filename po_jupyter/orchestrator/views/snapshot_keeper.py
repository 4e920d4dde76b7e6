"""The keeper of snapshots: folds runs as they change, so that nobody who opens a panel has to wait for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from po_jupyter.errors import CorruptRow, NotFound, PoError
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.snapshots import EVERY
from po_jupyter.store.protocol import Head, LogStore

log = structlog.get_logger(__name__)

_PAUSE = 2.0  # s between two looks: many runs that end are kept in one write
_AT_ONCE = 100  # runs of one look


class SnapshotKeeper:
    """Keeps a snapshot of a run when it has ended, and every `EVERY` events before."""

    def __init__(
        self,
        store: LogStore,
        projections: RunProjections,
        changes: ChangeFeed,
        to_thread: ToThread,
        *,
        pause: float = _PAUSE,
    ) -> None:
        """Nothing happens before `start`."""
        self._store = store
        self._projections = projections
        self._changes = changes
        self._to_thread = to_thread
        self._pause = pause
        self._changed: set[str] = set()
        self._ready = asyncio.Event()
        self._seen: dict[str, int] = {}  # offsets of runs that go on, as of their last snapshot
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._changes.add_listener(self._note)
        self._task = asyncio.create_task(self._keep_often(), name="snapshots")

    async def close(self) -> None:
        """End; what a thread has begun it ends."""
        self._changes.remove_listener(self._note)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note(self, run: str) -> None:
        self._changed.add(run)
        self._ready.set()

    async def _keep_often(self) -> None:
        while True:
            await self._ready.wait()
            await asyncio.sleep(self._pause)
            runs = [self._changed.pop() for _ in range(min(_AT_ONCE, len(self._changed)))]
            if not self._changed:
                self._ready.clear()
            try:
                await self._to_thread(self._keep, runs)
            except Exception as error:  # the next change, or whoever looks, does it
                _warn(error, runs)

    def _keep(self, runs: list[str]) -> None:
        heads: list[Head] = []
        for run in runs:
            with suppress(NotFound, CorruptRow):
                head = self._store.head(run)
                ended = head["state"] in ENDED
                if ended or head["offset"] - self._seen.get(run, 0) >= EVERY:
                    heads.append(head)
                    self._seen[run] = head["offset"]
                if ended:
                    self._seen.pop(run, None)
        try:
            self._projections.fold_all(heads)
        except PoError:
            raise  # the store's: it would be the same for each
        except Exception:  # of one of them, whose log makes no sense: the others have theirs all the same
            for head in heads:
                self._keep_one(head)

    def _keep_one(self, head: Head) -> None:
        try:
            self._projections.fold_all([head])
        except Exception as error:
            _warn(error, [head["run"]])


def _warn(error: Exception, runs: list[str]) -> None:
    message = error.message if isinstance(error, PoError) else repr(error)
    for run in runs:
        log.warning("the run could not be folded for its snapshot", run=run, error=message)
