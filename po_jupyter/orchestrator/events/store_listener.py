"""The listener at the store: publishes on the change feed what other processes wrote, where the store hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock

import structlog

from po_jupyter.errors import PoError
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import ListeningStore, Store

log = structlog.get_logger(__name__)

_KNOWN = 10_000  # runs that are remembered
# s between two publications. Each node hears of each commit of all nodes: to wake its loop for every one is what a node
# would do most. The first after a quiet while goes at once.
_PAUSE = 0.02


class StoreListener:
    """Publishes the changes of a `ListeningStore` between `start` and `close`; of another store nothing."""

    def __init__(self, store: Store, changes: ChangeFeed, to_thread: ToThread) -> None:
        """Nothing happens before `start`."""
        self._store = store
        self._changes = changes
        self._to_thread = to_thread
        self._lock = Lock()
        self._changed: dict[str, None] = {}
        self._end: Callable[[], None] | None = None
        self._published = -_PAUSE  # when, by the loop's time
        self._later: asyncio.TimerHandle | None = None
        self._looking: set[asyncio.Task[None]] = set()
        # Runs that had not ended, or changed since, as far as was heard; the latest last.
        self._known: dict[str, None] = {}

    def start(self) -> None:
        """Listen from now on; called on the loop of the change feed."""
        loop = asyncio.get_running_loop()

        def on_change(run: str) -> None:
            with self._lock:
                is_first = not self._changed
                self._changed[run] = None
            if is_first:  # else the loop has not come to it yet, and takes this one too
                loop.call_soon_threadsafe(self._publish_soon)

        if isinstance(self._store, ListeningStore):
            self._end = self._store.listen(on_change)

    async def close(self) -> None:
        """Listen no more."""
        if self._end is not None:
            await self._to_thread(self._end)
        if self._later is not None:
            self._later.cancel()
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    def _publish_soon(self) -> None:
        # What comes until then goes with it, and wakes nobody.
        self._later = asyncio.get_running_loop().call_at(self._published + _PAUSE, self._publish)

    def _publish(self) -> None:
        self._published = asyncio.get_running_loop().time()
        with self._lock:
            changed, self._changed = self._changed, {}
        for run in changed:
            if run:
                self._know(run)
                self._changes.changed(run)
            else:
                task = asyncio.create_task(self._look(), name="changes that nobody heard")
                self._looking.add(task)
                task.add_done_callback(self._looking.discard)

    async def _look(self) -> None:
        """Anything may have changed: publish each run that somebody watches, that has not ended, or that had not when
        something was heard last."""
        watched = self._changes.interests()
        runs = {run for run in watched if run is not None}
        known, self._known = self._known, {}
        try:
            active = [head["run"] for head in await self._to_thread(self._store.active)]
            runs.update(known, active)
            for run in active:
                self._know(run)
            if None in watched:
                runs.update(head["run"] for head in (await self._to_thread(self._store.runs)).heads)
        except PoError as error:  # the next reconnect, and streams look now and then all the same
            log.warning("cannot look at the store", error=error.message)
            self._known = {**known, **self._known}
        for run in runs:
            self._changes.changed(run)

    def _know(self, run: str) -> None:
        self._known.pop(run, None)
        self._known[run] = None
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
