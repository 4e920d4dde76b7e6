"""The starts of workers: the runs that wait for one, how many may be at work, and what is done when none can be had."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import (
    InvalidInput,
    NotFound,
    PoError,
    SpawnFailed,
    StaleFence,
    StoreError,
    VersionMismatch,
)
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers import worker_exits
from po_jupyter.orchestrator.workers.launcher import Launcher, LaunchSpec, launch_spec
from po_jupyter.orchestrator.workers.processes import WorkerHandle, WorkerProcesses
from po_jupyter.orchestrator.workers.queue import RunQueues, RunShare
from po_jupyter.orchestrator.workers.shared_workers import SharedWorkers
from po_jupyter.orchestrator.workers.store_backoff import StoreBackoff
from po_jupyter.platform.concurrency import BackgroundTasks
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger(__name__)

BeforeStart = Callable[[str], Awaitable[None]]


class StartCallbacks(Protocol):
    """What a start that fails asks of the supervisor."""

    def retry_store(self, run: str, reason: str, hint: str) -> None:
        """The store could not be used for this run: try again later."""
        ...

    def attend_again(self, run: str) -> None:
        """Somebody took the run meanwhile: look at it again."""
        ...

    def started(self, run: str) -> None:
        """The start of a worker is over; whether the run has one is known."""
        ...


class WorkerStarts:
    """Starts workers while there are runs and room. `queue` has the runs that wait."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        views: RunProjections,
        feed: ChangeFeed,
        launcher: Launcher,
        workers: WorkerProcesses,
        shared: SharedWorkers,
        store_backoff: StoreBackoff,
        callbacks: StartCallbacks,
        *,
        to_thread: ToThread,
        before_start: BeforeStart | None,
        share: RunShare | None = None,
    ) -> None:
        """Nothing waits yet. `before_start` and `share` as for the supervisor."""
        self._share = share
        self._settings = settings
        self._store = store
        self._views = views
        self._feed = feed
        self._launcher = launcher
        self._workers = workers
        self._shared = shared
        self._store_backoff = store_backoff
        self._callbacks = callbacks
        self._to_thread = to_thread
        self._before_start = before_start
        self.queue = RunQueues()
        self.starting: dict[str, bool] = {}  # runs, and whether in a process of many
        self._starts = BackgroundTasks()
        self._launches: dict[str, LaunchSpec | Head] = {}  # of runs that wait; heads of those not read yet
        self._stopping = False

    def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Queue a run that was created right now: nothing of it is read."""
        self._queue(head, launch_spec(head, definition, self._settings))

    async def attended(self, head: Head) -> None:
        """Queue a run that needs a worker. Raises StoreError, NotFound."""
        launch: LaunchSpec | Head = head  # read when it is its turn: there may be thousands, with large seeds
        if self._settings.shared_worker:  # what is read says in which queue it waits
            launch = await self._to_thread(self._read_launch_spec, head)
        if head["run"] not in self.starting:
            self._queue(head, launch)

    def _queue(self, head: Head, launch: LaunchSpec | Head) -> None:
        run = head["run"]
        self._launches[run] = launch
        may_share = isinstance(launch, LaunchSpec) and launch.shared
        self.queue.add(head, shared=may_share and run not in self._shared.alone)
        self.pump()

    def discard(self, run: str) -> None:
        """The run needs no worker."""
        self.queue.discard(run)
        self._launches.pop(run, None)

    def _read_launch_spec(self, head: Head) -> LaunchSpec:
        run = head["run"]
        launch = launch_spec(head, RunDefinition.from_json(self._store.definition(run)), self._settings)
        # One that may have ended its process goes on alone, also under the next server.
        if launch.shared and head["n"] > 1 and self._views.state(head).crashes:
            launch = launch._replace(shared=False)
        return launch

    def pump(self) -> None:
        """Start workers while there are runs and room."""
        if self._stopping:
            return
        if self.queue.own or self._share is not None:
            self._pump_own()
        if self.queue.shared:  # else nothing is counted: this is asked at each end of hundreds of runs
            shared = self.busy_shared()
            while shared < self._settings.max_shared_running and (run := self.queue.shared.pop()) is not None:
                shared += self._begin(run, shared=True)

    def _pump_own(self) -> None:
        own = self.busy()
        while own < self._settings.max_running and (run := self.queue.own.pop()) is not None:
            own += self._begin(run, shared=False)
        if self._share is not None and own < self._settings.max_running:
            self._share.has_room()

    def _begin(self, run: str, *, shared: bool) -> bool:
        worker = self._workers.get(run)
        launch = self._launches.pop(run, None)
        if launch is None or run in self.starting or (worker is not None and not worker.finished):
            return False
        self.starting[run] = shared
        self._starts.start(self._start(run, launch, shared), f"start {run}")
        return True

    def busy(self) -> int:
        """Workers that are at work or about to be, with a process of their own: what `max_running` limits."""
        workers = self._workers.by_run.values()
        starting = sum(not shared for shared in self.starting.values())
        return starting + sum(w.process is None and not w.finished and not w.resting for w in workers)

    def busy_shared(self) -> int:
        """Runs in processes of many: what `max_shared_running` limits."""
        workers = self._workers.by_run.values()
        starting = sum(self.starting.values())
        return starting + sum(w.process is not None and not w.finished and not w.resting for w in workers)

    async def _start(self, run: str, launch: LaunchSpec | Head, shared: bool) -> None:
        try:
            wait = self._store_backoff.get(run)
            if wait is not None:
                await self._to_thread(worker_exits.record_store_wait, self._store, run, wait)
                wait.trying = True
                self._feed.store_wait(run, None)
            if self._before_start is not None:
                await self._before_start(run)
            if isinstance(launch, LaunchSpec):
                spec = launch
            else:
                spec = await self._to_thread(self._read_launch_spec, launch)
            if shared:
                await self._shared.take(run, spec.fence, spec.silence_limit)
            else:
                await self._launch(run, spec)
        except NotFound:
            pass
        except (SpawnFailed, VersionMismatch, InvalidInput) as error:
            await self._give_up(run, error)
        except StoreError as error:
            self._callbacks.retry_store(run, error.message, error.hint)
        except Exception as error:
            log.exception("unexpected while starting a worker", run=run)
            await self._give_up(run, SpawnFailed(f"no worker could be started: {error!r:.200}"))
        finally:
            self.starting.pop(run, None)
            self._callbacks.started(run)
            self.pump()

    async def _launch(self, run: str, launch: LaunchSpec) -> None:
        early: list[int | None] = []  # the exit, when it came before we knew the worker
        worker: WorkerHandle | None = None

        def on_exit(pid: int, status: int | None) -> None:
            if worker is None:
                early.append(status)
            else:
                self._workers.exited(worker, status)

        identity = await self._launcher.start(run, launch, on_exit, watched=self._feed.watched(run))
        worker = WorkerHandle(run, identity, launch.silence_limit)
        self.starting.pop(run, None)
        self._workers.add(worker)
        log.info("worker started", run=run, pid=worker.pid)
        if early:
            self._workers.exited(worker, early[0])

    async def _give_up(self, run: str, error: PoError) -> None:
        if self._stopping:
            return
        log.error("no worker for the run", run=run, error=error.message)
        try:
            if self._before_start is not None:
                await self._before_start(run)
            end = worker_exits.end_as_dead
            if self._share is not None:
                end = partial(end, is_elsewhere=self._share.is_elsewhere)
            await self._to_thread(end, self._store, run, error)
            self._callbacks.attend_again(run)  # and to its child runs
        except StaleFence:
            self._callbacks.attend_again(run)
        except StoreError as failed:
            self._callbacks.retry_store(run, failed.message, failed.hint)
        self._feed.changed(run)

    async def stop(self) -> None:
        """Start nothing more; a start that is on its way is known afterwards."""
        self._stopping = True
        await self._starts.cancel()
