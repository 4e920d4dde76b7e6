"""The dispatcher of a node: the workers of this machine for the runs that it took, and hints from the others.

It is a `LocalDispatcher` that looks after its own share of the store. What the store says of changes (NOTIFY) reaches
whoever watches a run here, the worker of a run that is at work here, and the search for runs that wait. A hint that is
lost costs time alone: everything is looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress

import structlog

from po_jupyter.distributed.directory import DRAIN, LOOKS, NodeDirectory
from po_jupyter.distributed.pool import RunPool
from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.distributed.rate_share import RateShare
from po_jupyter.distributed.share import NodeShare
from po_jupyter.errors import PoError
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.dispatch.local import LocalDispatcher
from po_jupyter.orchestrator.dispatch.protocol import DispatchLoad
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.waits import RunWaits
from po_jupyter.store.protocol import Head, SharedStore

log = structlog.get_logger(__name__)

_GATHER = 0.05  # s in which changes of runs that are at work here are gathered
# s until a record that no head explains is taken for another's, which a node of before 0.2.0 wrote: a worker says its
# own within half a second.
_SETTLE = 1.0


class NodeDispatcher:
    """See the module. `is_holder`, `load` and the places of runs are of the whole store as this node knows it."""

    def __init__(
        self,
        local: LocalDispatcher,
        share: NodeShare,
        store: SharedStore,
        changes: ChangeFeed,
        directory: NodeDirectory,
        to_thread: ToThread,
        *,
        node: str,
        ttl: float,
        hints: QueueHints | None = None,
        rates: RateShare | None = None,
    ) -> None:
        """`local` has the workers, and `share` as its share; `rates` is there where settings limit models."""
        self._rates = rates
        if rates is not None:
            local.rate_limit_server.set_shares({}, float("inf"))
        self._local = local
        self._share = share
        self._supervisor = share.supervisor = local.supervisor
        self._store = store
        self._changes = changes
        self._directory = directory
        self._to_thread = to_thread
        self._node = node
        self._ttl = ttl
        self._hints = hints
        self._pool = RunPool(store, share, to_thread, ttl, hints)
        self._has_drained = False
        share.on_room, share.on_left = self._has_room, self._left
        self._checks: set[str] = set()  # runs at work here that changed
        self._check_timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[object]] = set()

    @property
    def is_holder(self) -> bool:
        """True when this node has workers, and may start more."""
        return self._share.takes

    @property
    def checks_environment(self) -> bool:
        """False: runs are worked off wherever there is room."""
        return False

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, look after the own runs, take others. Raises StoreError."""
        await self._to_thread(self._directory.look)
        await self._to_thread(self._store.drop, DRAIN, self._node)
        self._changes.add_listener(self._heard)
        await self._local.start()
        if self._hints is not None:
            await self._hints.start(consumes=self._share.takes)
        self._tasks.append(asyncio.create_task(self._look_often(), name="nodes"))
        if self._hints is not None:
            self._tasks.append(asyncio.create_task(self._look_at_broker(self._hints), name="broker"))
        self._tasks.append(asyncio.create_task(self._pool.take_often(), name="take runs"))

    async def close(self, *, drain: bool) -> None:
        """End; with `drain` the workers finish what is in flight, and other nodes go on with their runs."""
        self._share.takes = False
        self._changes.remove_listener(self._heard)
        if self._check_timer is not None:
            self._check_timer.cancel()
        for task in [*self._tasks, *self._background]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._background, return_exceptions=True)
        if self._hints is not None:
            await self._hints.close()
        if drain:
            with suppress(PoError):  # the reaper does it
                await self._share.give_back()
        await self._local.close(drain=drain)

    # -- dispatching ----------------------------------------------------------------------------

    async def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Take the run when there is room here; tell the others otherwise, whom the store has told already."""
        try:
            taken = await self._share.claim(head)
        except PoError as error:
            log.warning("a new run is left to other nodes", run=head["run"], error=error.message)
            taken = None
        if taken is not None:
            self._supervisor.submitted(*taken)
        elif self._hints is not None:
            await self._hints.publish(head, definition)

    async def changed(self, run: str) -> None:
        """Do what the log of the run asks for, where it is ours or nobody's; the node that has it has heard of it."""
        await self._supervisor.attend(run)

    async def release(self, run: str) -> None:
        """Have the run given back, where this node has it."""
        await self._local.release(run)

    async def take_back(self, run: str) -> None:
        """Look after the run again."""
        await self._local.take_back(run)

    def position(self, run: str) -> int | None:
        """The place of a queued run among those of all nodes, as of a moment ago."""
        return self._pool.position(run)

    def waiting_reason(self, run: str) -> str | None:
        """The reason why a run of this node waits for the store."""
        return self._local.waiting_reason(run)

    def waits(self) -> RunWaits:
        """What the runs of this node wait for, and the queue of all nodes."""
        return {**self._local.waits(), "queue": dict(self._pool.places)}

    def load(self) -> DispatchLoad:
        """The load of all nodes."""
        return {"running": self._pool.running, "queued": self._pool.queued}

    def live_runs(self) -> int:
        """Runs at work here."""
        return self._local.live_runs()

    def rate_limits(self) -> Mapping[str, object]:
        """The limits that are handed out here."""
        return self._local.rate_limits()

    def _has_room(self) -> None:
        self._pool.wake()
        if self._hints is not None:
            self._hints.has_room()

    def _left(self, head: Head) -> None:
        """A run that we looked at waits for another node: tell the others."""
        if self._hints is not None:
            self._run_in_background(self._hints.publish(head), "publish")

    def _run_in_background(self, work: Coroutine[object, object, object], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -- what the store says --------------------------------------------------------------------

    def _heard(self, run: str) -> None:
        """A run changed, here or somewhere."""
        if self._supervisor.processes.get(run) is not None:
            self._checks.add(run)
            if self._check_timer is None:
                self._check_timer = asyncio.get_running_loop().call_later(_GATHER, self._start_check)
        else:
            self._pool.wake()

    def _start_check(self) -> None:
        self._check_timer = None
        runs, self._checks = self._checks, set()
        self._run_in_background(self._check(runs), "check runs")

    async def _check(self, runs: set[str]) -> None:
        """Look at runs at work here that changed: what their workers wrote themselves needs nobody."""
        try:
            heads = await self._to_thread(self._store.heads, sorted(runs))
        except PoError as error:
            log.warning("cannot look at runs", runs=len(runs), error=error.message)
            return
        requested, behind = [], []
        for run in runs:
            worker, head = self._supervisor.processes.get(run), heads.get(run)
            if worker is None:
                await self._supervisor.attend(run)
            elif head is not None and self._share.is_elsewhere(head):
                self._supervisor.processes.kill(worker, "overtaken")
            elif head is not None and head.get("requested", 0) > worker.requested:
                worker.requested = head["requested"]
                requested.append(run)
            elif head is not None and head["n"] > worker.written:
                behind.append((worker, head["n"]))
        for run in requested:
            await self._supervisor.attend(run)
        if behind:
            await asyncio.sleep(_SETTLE)  # the head has what its worker wrote a moment ago and did not say yet
        for worker, n in behind:
            if n > worker.written:
                worker.written = n
                await self._supervisor.attend(worker.run)

    async def _look_often(self) -> None:
        while True:
            try:
                looked = time.monotonic()
                await self._to_thread(self._directory.look)
                await self._share_rates(looked)
                if await self._to_thread(self._store.get, DRAIN, self._node) is not None:
                    await self._drain()
            except PoError as error:
                log.warning("cannot look at the nodes", error=error.message)
            except Exception:  # without this task the other nodes would never be looked at again
                log.exception("unexpected while looking at the nodes")
            await asyncio.sleep(self._ttl / LOOKS)

    async def _look_at_broker(self, hints: QueueHints) -> None:
        """Apart from the nodes: a broker that is silent takes its time to say nothing."""
        while True:
            try:
                await hints.look()
            except PoError as error:
                log.warning("cannot look at the broker", error=error.message)
            except Exception:  # without this task nothing would be published any more
                log.exception("unexpected while looking at the broker")
            await asyncio.sleep(self._ttl / LOOKS)

    async def _share_rates(self, looked: float) -> None:
        if self._rates is None:
            return
        # From then on the others take this node for gone, unless it is seen to renew.
        until = looked + self._ttl - self._directory.silence(self._node)
        alive = {node.rates for node in self._directory.nodes()}
        server = self._local.rate_limit_server
        await self._rates.step(server, self._store, self._to_thread, alive, until)

    async def _drain(self) -> None:
        """Give the runs of this node to others, and take none any more: messages and runs without a worker at once, the
        others when their calls in flight are answered. What fails is done at the next look."""
        if self._share.takes:
            log.info("this node drains", runs=self._supervisor.live())
            self._share.takes = False
        if self._has_drained:
            return
        if self._hints is not None:
            await self._hints.stop_consuming()
        await self._share.give_back()
        self._supervisor.processes.drain()
        # A worker whose start was under way is told at a later look.
        self._has_drained = not self._supervisor.starts.starting
