"""The supervisor: which runs have a worker, and what is done when one ends.

`attend(run)` is the one way in. It reads what the store says about the run and does what that asks for: start a
worker, tell one to look, end the run. So a submit, a notification, a recovery and a worker's end are all the same,
and doing it twice changes nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import NotFound, PoError, StaleFence, StoreError
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import CancelRequested, LookAtLog, OrchestratorLoad
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread, read_head
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers import worker_exits
from po_jupyter.orchestrator.workers.launcher import Launcher, silence_limit
from po_jupyter.orchestrator.workers.processes import WorkerHandle, WorkerProcesses
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.orchestrator.workers.releases import RunReleases
from po_jupyter.orchestrator.workers.shared_workers import SharedWorkers
from po_jupyter.orchestrator.workers.starts import WorkerStarts
from po_jupyter.orchestrator.workers.store_backoff import StoreBackoff
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.platform import processes
from po_jupyter.platform.concurrency import BackgroundTasks, KeyedLocks, gather_or_cancel
from po_jupyter.platform.container import stop_patience
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger(__name__)

_STORE_RETRY = 2.0  # s until what could not be recorded is tried again
_POSITIONS = 10_000  # queued runs whose positions other servers are told
_MAX_CRASH_DELAY = 30.0  # s between two tries of a run that crashes


class Supervisor:
    """Owns the workers of the orchestrator that holds the store.

    `queue` has the runs that wait for a worker, `starts` starts them, `processes` has the workers, `shared` those
    processes that work many runs off, `store_backoff` the runs that wait for the store.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        views: RunProjections,
        feed: ChangeFeed,
        zygotes: ZygotePool,
        *,
        address: Path,
        to_thread: ToThread,
        keys: KeyStore | None = None,
        before_start: Callable[[str], Awaitable[None]] | None = None,
        share: RunShare | None = None,
    ) -> None:
        """`address` is where the orchestrator listens; `before_start` is awaited before a worker of a run is started,
        or its end recorded without one; `share` says which runs are none of ours. Nothing runs yet."""
        self._settings = settings
        self._store = store
        self._views = views
        self._feed = feed
        self._to_thread = to_thread
        self._before_start = before_start
        self._share = share
        shards = getattr(store, "shards", settings.store_shards)
        launcher = Launcher(
            settings, zygotes, address, shards, keys or KeyStore(settings.data_dir, settings.hub_url)
        )
        self.processes = WorkerProcesses(settings, self._after_exit)
        self.shared = SharedWorkers(settings, self.processes, launcher.start_shared, launcher.environment)
        self.store_backoff = StoreBackoff()
        self.starts = WorkerStarts(
            settings, store, views, feed, launcher, self.processes, self.shared, self.store_backoff, self,
            to_thread=to_thread, before_start=before_start, share=share,
        )  # fmt: skip
        self.queue = self.starts.queue
        self.releases = RunReleases(self.processes, self.starts)
        self._background = BackgroundTasks()
        self._retries: set[str] = set()  # runs that are attended to in a moment
        self._undelivered: set[str] = set()  # runs that changed before their worker could hear it
        self._locks = KeyedLocks()  # by run
        self._stopping = False

    # -- the one way in -------------------------------------------------------------------------

    def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Queue a run that was created right now: nothing of it is read."""
        self.starts.submitted(head, definition)

    async def attend(self, run: str) -> None:
        """Do what the store says about this run. Raises nothing: what fails is logged, and tried again when it
        was the store that failed."""
        if self._stopping:
            return
        try:
            async with self._locks.locked(run):
                await self._attend(run)
        except NotFound:
            self._forget(run)
        except StaleFence:  # somebody took it between our look and our claim
            self.attend_again(run)
        except StoreError as error:
            self.retry_store(run, error.message, error.hint)
        except PoError as error:
            log.error("cannot look after the run", run=run, error=error.message)
        except Exception:  # whoever looks after many runs goes on with the others
            log.exception("unexpected while looking after the run", run=run)

    def has_run(self, run: str) -> bool:
        """True when a worker is at work on the run, or will be."""
        return (
            run in self.processes.by_run
            or run in self.starts.starting
            or run in self.queue
            or run in self._retries
        )

    async def _attend(self, run: str) -> None:
        head = await read_head(self._store, run, self._to_thread)
        if head["state"] in ENDED or self._is_elsewhere(head):
            self._forget(run)
            if head["state"] == "dead":
                await self._attend_to_children(head)
            return
        worker = self.processes.get(run)
        if worker is not None and not worker.finished:
            await self._notify_worker(worker, head)
            return
        if run in self.starts.starting:
            self._undelivered.add(run)
            return
        holder = head["holder"]
        if worker is None and self._is_at_work(run, holder):
            await self._notify_worker(self.adopt(head), head)
            return
        if worker is not None:
            await self.processes.wait_finished(worker)
        if self._before_start is not None:  # a run that is cancelled in the queue ends here
            await self._before_start(run)
        settle = partial(worker_exits.settle, is_elsewhere=self._is_elsewhere)
        outcome, head = await self._to_thread(settle, self._store, self._views, run)
        if outcome == "pending":
            taken = head if self._share is None else await self._share.take(head)
            if taken is not None:
                await self.starts.attended(taken)
            else:
                self.starts.discard(run)
        elif outcome == "ended":
            self._forget(run)
            self._feed.changed(run)

    async def _attend_to_children(self, head: Head) -> None:
        """Have the child runs of a dead run hear that they were told to end."""
        state = await self._to_thread(self._views.state, head)
        for name in state.open_shards:
            for shard in state.tasks[name].open_shards:
                self.attend_again(shard["run"])

    def _is_elsewhere(self, head: Head) -> bool:
        taken = self._share is not None and self._share.is_elsewhere(head)
        return taken or head["run"] in self.releases

    def _is_at_work(self, run: str, holder: processes.Identity | None) -> bool:
        """Whether a process that we do not know as the run's worker works on it."""
        if holder is None or holder["pid"] == os.getpid() or not processes.alive(holder):
            return False
        if holder.get("reserves"):
            return False  # a server, which is never a worker and never ended as one
        return not self.shared.has_left(run, holder)

    async def _notify_worker(self, worker: WorkerHandle, head: Head) -> None:
        """Have a worker read its log; see to it that a cancelled one ends."""
        state = await self._to_thread(self._views.state, head)
        if worker.channel is None:
            self._undelivered.add(worker.run)
        else:
            worker.channel.send(CancelRequested() if state.cancel_requested else LookAtLog())
        if state.cancel_requested and not worker.cancelled:
            worker.cancelled = True
            # What a batch or a child run has finished is paid for: it is waited for.
            patience = self._settings.batch_cancel_wait if state.works_elsewhere else 0.0
            self.processes.kill_after(worker, self._settings.cancel_timeout + patience, "cancel")

    def _forget(self, run: str) -> None:
        self.starts.discard(run)
        self.shared.forget(run)
        self.store_backoff.clear(run)

    def busy(self) -> int:
        """Runs that are at work or about to be."""
        return self.starts.busy() + self.starts.busy_shared()

    def pump(self) -> None:
        """Start workers while there are runs and room."""
        self.starts.pump()

    def live(self) -> int:
        """Runs that are at work or want to be."""
        at_work = sum(not worker.finished for worker in self.processes.by_run.values())
        return len(self.queue) + len(self.starts.starting) + at_work

    # -- from the gateway -----------------------------------------------------------------------

    def connected(self, worker: WorkerHandle, *, adopted: bool) -> None:
        """A worker can be reached: what it could not hear before it learns now."""
        if adopted or worker.run in self._undelivered:
            self._undelivered.discard(worker.run)
            self.run_in_background(self.attend(worker.run), f"connected {worker.run}")

    def clear_store_wait(self, run: str) -> None:
        """A worker wrote to its run: it does not wait for the store any more."""
        self.store_backoff.clear(run)

    def finished(self, worker: WorkerHandle, state: str) -> None:
        """A worker sent its last message: it exits now."""
        worker.final_state = state
        self.processes.finished(worker)
        self.starts.pump()

    # -- from starts ----------------------------------------------------------------------------

    def retry_store(self, run: str, reason: str, hint: str) -> None:
        """The store could not be used for this run: try again later, and say so meanwhile."""
        if self._stopping:
            return
        delay = self.store_backoff.failed(run, reason, hint)
        log.error("the store failed", run=run, error=reason, next_try=round(delay, 1))
        self._feed.store_wait(run, self.store_backoff.reason(run))
        self._attend_later(delay, run)

    def attend_again(self, run: str) -> None:
        """Somebody took the run meanwhile: look what the store says of it now."""
        if not self._stopping:
            self._attend_later(0.0, run)

    def started(self, run: str) -> None:
        """The start of a worker is over: what it could not hear, and nobody hears now, is attended to."""
        if run not in self.processes.by_run and run in self._undelivered:
            self._undelivered.discard(run)
            self._attend_later(0.0, run)

    def adopt(self, head: Head) -> WorkerHandle:
        """Look after a worker that an earlier orchestrator started."""
        run, holder = head["run"], head["holder"]
        assert holder is not None and not holder.get("reserves")
        self.starts.discard(run)
        if holder.get("shared"):
            return self.shared.adopt(run, holder)
        worker = WorkerHandle(run, holder.copy(), math.inf, ours=False)
        self.processes.add(worker)
        log.info("worker adopted", run=run, pid=worker.pid)

        async def read_silence_limit() -> None:
            definition = await self._to_thread(self._store.definition, run)
            worker.silence_limit = silence_limit(RunDefinition.from_json(definition), self._settings)

        self.run_in_background(read_silence_limit(), f"silence limit {run}")
        return worker

    # -- ending ---------------------------------------------------------------------------------

    async def watch_silence(self) -> None:
        """Kill workers that hang, renew processes of many runs. Runs until cancelled."""
        await gather_or_cancel([self.processes.watch_silence(), self.shared.watch()])

    async def _after_exit(self, worker: WorkerHandle, status: int | None) -> None:
        run = worker.run
        async with self._locks.locked(run):
            self.processes.remove(worker)
            if status is None and worker.process is None:
                await self._to_thread(processes.end_leftovers, worker.pid)
            delay = await self._record_exit(worker, status)
        if delay is None:
            self.starts.pump()
            return
        self._feed.changed(run)
        # Attended to whatever it said: somebody may have asked for more (a resume, a decision) since its
        # last commit.
        if delay == 0.0:
            await self.attend(run)
        else:
            self._attend_later(delay, run)
        self.starts.pump()

    async def _record_exit(self, worker: WorkerHandle, status: int | None) -> float | None:
        """Seconds until the run is attended to again; None when it waits for the store."""
        run, failure = worker.run, worker.store_failure
        if not worker.finished and (status == ExitStatus.STORE_FAILED or failure is not None):
            reason, hint = (failure.message, failure.hint or "") if failure is not None else ("", "")
            self.retry_store(run, reason or "its worker could not write", hint)
            return None
        self.store_backoff.clear(run)
        # Many runs end before they are connected: then the exit status is the last word.
        orderly = status in (ExitStatus.ORDERLY, ExitStatus.NEEDS_OWN_PROCESS)
        if worker.finished or orderly or self._stopping:
            return 0.0
        try:
            return await self._record_crash(worker, status)
        except StaleFence:  # somebody has it by now
            return 0.0
        except StoreError as error:
            self.retry_store(run, error.message, error.hint)
            return None
        except PoError as error:
            log.error("cannot record a worker's end", run=run, error=error.message)
            return _STORE_RETRY

    async def _record_crash(self, worker: WorkerHandle, status: int | None) -> float:
        log_file = self._settings.data_dir / "runs" / worker.run / "worker.log"
        if worker.process is not None:
            log_file = worker.process.log
        end = worker_exits.WorkerExit(worker.identity, status, worker.end_reason, log_file)
        crashes = await self._to_thread(
            partial(
                worker_exits.record_crash, counts=not worker.bystander, is_elsewhere=self._is_elsewhere
            ),
            self._store, self._views, worker.run, end, self._settings.max_crashes,
        )  # fmt: skip
        if crashes is None or crashes <= 1 or worker.bystander:
            return 0.0
        return min(_MAX_CRASH_DELAY, 2.0 ** (crashes - 2)) * random.uniform(0.5, 1.5)

    async def stop(self, *, drain: bool = True) -> None:
        """Hand over: tell every worker to finish what is in flight, give them `shutdown_timeout`, let go of the rest.

        No worker is ended here. Its calls are paid for, it outlives this process, and the next server adopts it.
        With `drain` false nobody is told anything: the workers go on under another server.
        """
        self._stopping = True
        await self.starts.stop()
        if drain:
            self.shared.drain()
            workers = self.processes.drain()
            patience = self._settings.shutdown_timeout
            await self.processes.wait_ended(workers, stop_patience() if patience is None else patience)
            if remaining := sum(not worker.ended.is_set() for worker in workers):
                log.info("handed over", workers=remaining, does="they finish what is in flight and exit")
        await self.shared.close()
        await self.processes.close()
        await self._background.cancel()

    # -- small things ---------------------------------------------------------------------------

    def load(self) -> OrchestratorLoad:
        """The load of this server, for other servers."""
        return {
            "running": self.busy(),
            "queued": len(self.queue),
            "positions": self.queue.positions(_POSITIONS),
            "held": self.store_backoff.reasons(),
        }

    def run_in_background(self, coroutine: Coroutine[object, object, None], name: str) -> None:
        """Run it beside; it is cancelled when the supervisor stops."""
        self._background.start(coroutine, name)

    def _attend_later(self, delay: float, run: str) -> None:
        async def attend() -> None:
            await asyncio.sleep(delay)
            self._retries.discard(run)
            await self.attend(run)

        self._retries.add(run)
        self.run_in_background(attend(), f"attend to {run}")
