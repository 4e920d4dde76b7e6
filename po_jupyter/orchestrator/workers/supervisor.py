"""The supervisor: which runs have a worker, and what is done when one ends.

`attend(run)` is the one way in. It reads what the store says about the run and does what that asks for: start a
worker, tell one to look, end the run. So a submit, a poke, a recovery and a worker's end are all the same,
and doing it twice changes nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, NotFound, PoError, SpawnFailed, StoreError, VersionMismatch
from po_jupyter.ipc.channel import IN_ORDER, STORE_FAILED
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.environment.key_store import Keys
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.orchestrator.workers import outcomes as ending
from po_jupyter.orchestrator.workers.launcher import Launch, Launcher, launch_of, silence_of
from po_jupyter.orchestrator.workers.processes import Worker, WorkerEnds
from po_jupyter.orchestrator.workers.queue import RunQueue
from po_jupyter.orchestrator.workers.store_backoff import HeldRuns
from po_jupyter.orchestrator.workers.zygote_pool import Zygotes
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger("po_jupyter.workers")

_STORE_RETRY = 2.0  # s until what could not be recorded is tried again
_TOLD = 10_000  # queued runs whose positions other servers are told


class Supervisor(WorkerEnds):
    """Owns the workers of the orchestrator that holds the store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        views: Views,
        feed: Feed,
        zygotes: Zygotes,
        *,
        address: Path,
        run_off_loop: Callable[..., Awaitable[Any]],
        keys: Keys | None = None,
    ) -> None:
        super().__init__(settings)
        self._store = store
        self._views = views
        self._feed = feed
        self._do = run_off_loop
        shards = getattr(store, "shards", settings.store_shards)
        self._launcher = Launcher(settings, zygotes, address, shards, keys or Keys(settings.data_dir))
        self.queue = RunQueue()
        self.held = HeldRuns()
        self._starting: set[str] = set()
        self._again: set[str] = set()  # runs that are attended to in a moment
        self._fresh: dict[str, Launch] = {}  # how to start runs that nobody has touched since they were made
        self._missed: set[str] = set()  # runs that were told something before their worker could hear it
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._stopping = False

    # -- the one way in -------------------------------------------------------------------------

    def submitted(self, head: Head, definition: Mapping[str, Any]) -> None:
        """A run that was created right now: nothing to look up."""
        self._fresh[head["run"]] = launch_of(head, definition, self._settings)
        self.queue.add(head)
        self.pump()

    async def attend(self, run: str) -> None:
        """Do what the store says about this run. Raises nothing: what fails is logged, and tried again when it
        was the store that failed."""
        if self._stopping:
            return
        try:
            self._fresh.pop(run, None)
            async with self._locked(run):
                await self._attend(run)
        except NotFound:
            self.queue.discard(run)
            self.held.over(run)
        except StoreError as error:
            self._hold(run, error.message, error.hint)
        except PoError as error:
            log.error("cannot look after the run", run=run, error=error.message)

    def knows(self, run: str) -> bool:
        """Is somebody or something here at work on it, or about to be?"""
        return run in self.workers or run in self._starting or run in self.queue or run in self._again

    async def _attend(self, run: str) -> None:
        head: Head = await self._do(self._store.head, run)
        if head["state"] in ENDED:
            self.queue.discard(run)
            self.held.over(run)
            return
        worker = self.workers.get(run)
        if worker is not None and worker.bye is None:
            await self._direct(worker, head)
            return
        if run in self._starting:
            self._missed.add(run)
            return
        holder = head["holder"]
        if worker is None and holder is not None and holder["pid"] != os.getpid() and processes.alive(holder):
            await self._direct(self.adopt(head), head)
            return
        if worker is not None:
            await self._finished(worker)
        outcome, head = await self._do(ending.settle, self._store, self._views, run)
        if outcome == "pending":
            self.queue.add(head)
            self.pump()
        elif outcome == "ended":
            self.queue.discard(run)
            self._feed.changed(run)

    async def _direct(self, worker: Worker, head: Head) -> None:
        state = await self._do(self._views.state, head)
        if worker.channel is None:
            self._missed.add(worker.run)
        else:
            worker.channel.send("cancel" if state.cancel_requested else "look")
        if state.cancel_requested and not worker.cancelled:
            worker.cancelled = True
            # What a batch has finished is paid for: it is waited for.
            patience = self._settings.batch_cancel_wait if state.open_batches else 0.0
            self.end_later(worker, self._settings.cancel_timeout + patience, "cancel")

    async def connected(self, worker: Worker, *, adopted: bool) -> None:
        """A worker can be heard: what it could not hear before is said now."""
        if adopted or worker.run in self._missed:
            self._missed.discard(worker.run)
            await self.attend(worker.run)

    def live(self) -> int:
        """Runs that are at work or want to be."""
        return len(self.queue) + len(self._starting) + sum(w.bye is None for w in self.workers.values())

    # -- starting -------------------------------------------------------------------------------

    def pump(self) -> None:
        """Start workers while there are runs and room."""
        while not self._stopping and self.busy() < self._settings.max_running:
            run = self.queue.pop()
            if run is None:
                return
            if run in self._starting or ((known := self.workers.get(run)) is not None and known.bye is None):
                continue
            self._starting.add(run)
            self.go(self._start(run), f"start {run}")

    def busy(self) -> int:
        """Workers that are at work or about to be: what `max_running` limits."""
        return len(self._starting) + sum(w.bye is None and not w.resting for w in self.workers.values())

    async def _start(self, run: str) -> None:
        try:
            launch = self._fresh.pop(run, None) or await self._do(self._read, run)
            if launch is None:
                return
            held = self.held.get(run)
            if held is not None:
                await self._do(ending.write_held, self._store, run, held)
                held.trying = True
                self._feed.held(run, None)
            await self._launch(run, launch)
        except NotFound:
            pass
        except (SpawnFailed, VersionMismatch, InvalidInput) as error:
            await self._give_up(run, error)
        except StoreError as error:
            self._hold(run, error.message, error.hint)
        except Exception as error:
            log.exception("unexpected while starting a worker", run=run)
            await self._give_up(run, SpawnFailed(f"no worker could be started: {error!r:.200}"))
        finally:
            self._starting.discard(run)
            if run not in self.workers and run in self._missed:
                self._missed.discard(run)
                self._later(0.0, run)
            self.pump()

    async def _give_up(self, run: str, error: PoError) -> None:
        if self._stopping:
            return
        log.error("no worker for the run", run=run, error=error.message)
        try:
            await self._do(ending.dead, self._store, run, error)
        except StoreError as failed:
            self._hold(run, failed.message, failed.hint)
        self._feed.changed(run)

    def _hold(self, run: str, reason: str, hint: str) -> None:
        """The store could not be used for this run: try again later, and say so meanwhile."""
        if self._stopping:
            return
        delay = self.held.failed(run, reason, hint)
        log.error("the store failed", run=run, error=reason, next_try=round(delay, 1))
        self._feed.held(run, str(self.held.get(run)))
        self._later(delay, run)

    def wrote(self, run: str) -> None:
        """A worker wrote to its run: it does not wait for the store any more."""
        self.held.over(run)

    def _read(self, run: str) -> Launch | None:
        head = self._store.head(run)
        if head["state"] not in ("pending", "running"):
            return None
        return launch_of(head, self._store.definition(run), self._settings)

    async def _launch(self, run: str, launch: Launch) -> None:
        early: list[int | None] = []
        worker: Worker | None = None

        def on_exit(pid: int, status: int | None) -> None:
            if worker is None:
                early.append(status)
            else:
                self._exited(worker, status)

        identity = await self._launcher.start(run, launch, on_exit, watched=self._feed.watched(run))
        worker = Worker(run, identity, launch.silence)
        self._starting.discard(run)
        self.workers[run] = worker
        log.info("worker started", run=run, pid=worker.pid)
        if early:
            self._exited(worker, early[0])

    def adopt(self, head: Head) -> Worker:
        """Look after a worker that an earlier orchestrator started."""
        run, holder = head["run"], head["holder"]
        assert holder is not None
        worker = self.workers[run] = Worker(run, holder.copy(), math.inf, ours=False)
        self.queue.discard(run)
        log.info("worker adopted", run=run, pid=worker.pid)

        async def measure() -> None:
            worker.silence = silence_of(await self._do(self._store.definition, run), self._settings)

        self._watch(worker)
        self.go(measure(), f"measure {run}")
        return worker

    # -- ending ---------------------------------------------------------------------------------

    async def _after(self, worker: Worker, status: int | None) -> None:
        run = worker.run
        async with self._locked(run):
            if self.workers.get(run) is worker:
                del self.workers[run]
            if status is None:
                await self._do(processes.end_leftovers, worker.pid)
            delay = 0.0
            if worker.bye is None and (status == STORE_FAILED or any(worker.failure)):
                reason, hint = worker.failure
                self._hold(run, reason or "its worker could not write", hint)
                self.pump()
                return
            self.held.over(run)
            # Many runs end before they are connected: then the exit status is the last word.
            if worker.bye is None and status != IN_ORDER and not self._stopping:
                try:
                    delay = await self._crashed(worker, status)
                except StoreError as error:
                    self._hold(run, error.message, error.hint)
                    self.pump()
                    return
                except PoError as error:
                    log.error("cannot record a worker's end", run=run, error=error.message)
                    delay = _STORE_RETRY
        self._feed.changed(run)
        # Attended to whatever it said: somebody may have asked for more (a resume, a decision) since its
        # last commit.
        if delay == 0.0:
            await self.attend(run)
        else:
            self._later(delay, run)
        self.pump()

    async def _crashed(self, worker: Worker, status: int | None) -> float:
        """Record it; seconds until the run is attended to again."""
        end = ending.Exit(worker.identity, status, worker.killed, self._settings.data_dir / "runs" / worker.run)
        crashes = await self._do(
            ending.crashed, self._store, self._views, worker.run, end, self._settings.max_crashes
        )
        if crashes is None:
            return 0.0
        return 0.0 if crashes <= 1 else min(30.0, 2.0 ** (crashes - 2)) * random.uniform(0.5, 1.5)

    async def stop(self, *, drain: bool = True) -> None:
        """Drain every worker, wait `shutdown_timeout`, end what is left. With `drain` false: let them go on."""
        self._stopping = True
        starts = [t for t in self._tasks if t.get_name().startswith("start ")]
        for task in starts:
            task.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        if drain:
            workers = list(self.workers.values())
            for worker in workers:
                if worker.channel is not None:
                    worker.channel.send("drain")
                else:
                    processes.end_group(worker.identity, signal.SIGTERM)
            await self._all_ended(workers, self._settings.shutdown_timeout)
            for worker in workers:
                self._kill(worker, "stop")
            await self._all_ended(workers, 5.0)
        # What follows a worker's end is short and kills what it left behind: let that finish.
        await asyncio.gather(
            *(t for t in self._tasks if t.get_name().startswith("after ")), return_exceptions=True
        )
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- small things ---------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """`{running, queued, positions, held}`: runs that have a worker, runs that wait for one, where each of
        them stands, and what people are told of those that wait for the store."""
        return {
            "running": self.busy(),
            "queued": len(self.queue),
            "positions": self.queue.positions(_TOLD),
            "held": self.held.words(),
        }

    def _later(self, delay: float, run: str) -> None:
        async def again() -> None:
            await asyncio.sleep(delay)
            self._again.discard(run)
            await self.attend(run)

        self._again.add(run)
        self.go(again(), f"again {run}")

    @asynccontextmanager
    async def _locked(self, run: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(run, (asyncio.Lock(), 0))
        self._locks[run] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(run)
            if users > 1:
                self._locks[run] = (lock, users - 1)
