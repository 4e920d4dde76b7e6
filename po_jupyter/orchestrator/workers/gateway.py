"""The gateway: the orchestrator's side of the connections of its workers, and of other servers that notify it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from po_jupyter.errors import PoError
from po_jupyter.ipc.channel import Channel
from po_jupyter.ipc.messages import (
    ChildChanged,
    Heartbeat,
    LogGrew,
    Notify,
    NotifyReply,
    ResourceProgress,
    ResourceRequest,
    ResourceResponse,
    RestingChanged,
    RunLeft,
    SharedHello,
    StopWorker,
    StoreFailure,
    TakeRun,
    TextPiece,
    WatchedChanged,
    Welcome,
    WorkerFinished,
    WorkerHello,
)
from po_jupyter.ipc.rate_messages import (
    RateHistory,
    RatePermitDropped,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RateReport,
    RateState,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.workers.processes import RunChannel, SharedProcess, WorkerHandle
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Store, waits_for_worker

_MAX_FAILURE = 500  # characters of what a worker says of the store


class WorkerGateway:
    """Talks to the workers of one supervisor.

    `get_resource(run, request, progress)` answers what a worker requests, `rates` lets its calls go.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        store: Store,
        feed: ChangeFeed,
        *,
        to_thread: ToThread,
        get_resource: Callable[[str, ResourceRequest, Callable[[str], None]], Awaitable[ResourceResponse]],
        rates: RateLimitServer,
        share: RunShare | None = None,
    ) -> None:
        """`serve` is for the `Listener`. `share` is which runs are worked off here, where that is not all."""
        self._share = share
        self._supervisor = supervisor
        self._store = store
        self._feed = feed
        self._to_thread = to_thread
        self._get_resource = get_resource
        self._rates = rates
        self._handlers: dict[type[IpcMessage], Callable[[WorkerHandle, Any], None]] = {
            LogGrew: self._on_log_grew,
            TextPiece: self._on_text,
            ResourceRequest: self._on_request,
            RestingChanged: self._on_resting,
            ChildChanged: self._on_child,
            StoreFailure: self._on_store_failure,
            WorkerFinished: self._on_finished,
            RunLeft: self._on_left,
            RateHistory: self._on_rates,
            RatePermitRequest: self._on_rates,
            RatePermitDropped: self._on_rates,
            RatePermitUsed: self._on_rates,
            RatePermitRefused: self._on_rates,
        }
        feed.on_subscribers_changed(self._send_watched)
        supervisor.shared.hand_over = self.hand_over

    async def serve(self, channel: Channel, first: IpcMessage) -> None:
        """Serve one connection, from its first message to its end."""
        if isinstance(first, Notify):
            if first.run is not None:
                await self._supervisor.attend(first.run)
            load = self._supervisor.load()
            channel.send(NotifyReply({**load, "waits": self._rates.waits(), "rates": self._rates.limits()}))
            await channel.drain()
        elif isinstance(first, SharedHello):
            await self._serve_shared(channel, first)
        elif isinstance(first, WorkerHello):
            worker = await self._greet(channel, first)
            if worker is None:
                await channel.drain()
                return
            await self._receive(channel, {worker.run: worker}, only=worker)

    async def _serve_shared(self, channel: Channel, hello: SharedHello) -> None:
        """Serve a process of many runs."""
        # One that proved that it is a run's worker is no process of many.
        is_one = channel.run in (None, "") and _is_peer(channel, hello.pid)
        process = self._supervisor.shared.connected(hello, channel) if is_one else None
        if process is None:
            channel.send(StopWorker())
            await channel.drain()
            return
        channel.send(Heartbeat())
        process.attached.update(process.runs)
        try:
            await self._receive(channel, process.attached, process=process)
        finally:
            if process.channel is channel:  # else it connected again meanwhile
                process.attached.clear()
            self._supervisor.shared.disconnected(process, channel)

    async def _receive(
        self,
        channel: Channel,
        runs: Mapping[str, WorkerHandle],
        *,
        only: WorkerHandle | None = None,
        process: SharedProcess | None = None,
    ) -> None:
        """Handle the messages of a connection, each of its run; those that name none are of the `process`, or of the
        `only` run of a worker before 0.2.0."""
        try:
            while (addressed := await channel.receive_addressed()) is not None:
                message, run = addressed
                worker = only if run is None else runs.get(run)
                if isinstance(message, Heartbeat):
                    self._heard(runs, only)
                    channel.send(Heartbeat())
                elif isinstance(message, WorkerHello):
                    await self._greet(channel, message)
                elif worker is not None:
                    worker.heard()
                    handler = self._handlers.get(type(message))
                    if handler is not None:
                        handler(worker, message)
                elif process is not None and run is not None and isinstance(message, RunLeft):
                    process.left(run)
        finally:
            for worker in [only] if only is not None else list(runs.values()):
                self._disconnect(worker, channel)

    @staticmethod
    def _heard(runs: Mapping[str, WorkerHandle], only: WorkerHandle | None) -> None:
        worker = only or next(iter(runs.values()), None)
        if worker is not None:
            worker.heard()

    def _disconnect(self, worker: WorkerHandle, channel: Channel) -> None:
        if worker.channel is not None and worker.channel.channel is channel:
            self._rates.disconnect(worker.run, worker.channel)
            worker.channel = None

    def hand_over(self, worker: WorkerHandle) -> None:
        """Send a connected process of many runs one more."""
        process = worker.process
        assert process is not None and process.channel is not None
        rates = self._connect(worker, process.channel)
        take = TakeRun(worker.run, worker.expect, self._feed.watched(worker.run), rates)
        process.channel.send(take)
        self._supervisor.connected(worker, adopted=False)

    def _connect(self, worker: WorkerHandle, channel: Channel) -> RateState:
        worker.channel = RunChannel(channel, worker.run)
        if worker.process is not None:
            worker.process.attached[worker.run] = worker
        worker.heard()
        return self._rates.connect(worker.run, worker.channel)

    async def _greet(self, channel: Channel, hello: WorkerHello) -> WorkerHandle | None:
        """Welcome the worker of a run, or have it end."""
        worker = await self._identify(channel, hello)
        if worker is None:
            channel.send(StopWorker(), hello.run)
            return None
        adopted = worker.channel is None and not worker.ours
        rates = self._connect(worker, channel)
        assert worker.channel is not None
        worker.channel.send(Welcome(self._feed.watched(worker.run), rates))
        self._supervisor.connected(worker, adopted=adopted)
        return worker

    async def _identify(self, channel: Channel, hello: WorkerHello) -> WorkerHandle | None:
        """The worker at the other end, or None for one that has no business here any more."""
        run = hello.run
        if not _is_peer(channel, hello.pid):
            return None
        if channel.run not in (None, "", run):
            return None  # it proved that it is another run's worker
        workers = self._supervisor.processes
        if workers.get(run) is None:
            try:
                head = await self._to_thread(self._store.head, run)
            except PoError:
                return None
            # Looked up again: the answer of the zygote may have come in meanwhile.
            if workers.get(run) is None:
                holder = head["holder"]
                if holder is None or holder.get("reserves"):
                    return None
                if head["fence"] != hello.fence or holder["pid"] != hello.pid:
                    return None
                return self._supervisor.adopt(head)
        worker = workers.get(run)
        return worker if worker is not None and worker.pid == hello.pid else None

    # -- messages of workers --------------------------------------------------------------------

    def _on_log_grew(self, worker: WorkerHandle, message: LogGrew) -> None:
        worker.written = max(worker.written, message.n)
        self._supervisor.clear_store_wait(worker.run)
        self._feed.changed(worker.run)

    def _on_text(self, worker: WorkerHandle, message: TextPiece) -> None:
        self._feed.text(worker.run, message.to_json())

    def _on_request(self, worker: WorkerHandle, message: ResourceRequest) -> None:
        self._supervisor.run_in_background(self._respond(worker, message), f"request of {worker.run}")

    def _on_resting(self, worker: WorkerHandle, message: RestingChanged) -> None:
        if worker.resting != message.on:
            worker.resting = message.on
            self._supervisor.pump()

    def _on_child(self, worker: WorkerHandle, message: ChildChanged) -> None:
        self._feed.changed(message.child)
        self._supervisor.run_in_background(self._look_at_child(message.child), f"attend to {message.child}")

    async def _look_at_child(self, child: str) -> None:
        """Have a child run worked off: where several machines share the store, by whichever has room."""
        if self._share is not None and not self._supervisor.has_run(child):
            with suppress(PoError):  # which the supervisor finds too, and does what is right
                head = await self._to_thread(self._store.head, child)
                if head["n"] == 1 and waits_for_worker(head):  # nobody asked for anything since
                    self._share.offer(head)
                    return
        await self._supervisor.attend(child)

    def _on_store_failure(self, worker: WorkerHandle, message: StoreFailure) -> None:
        hint = (message.hint or "")[:_MAX_FAILURE]
        worker.store_failure = StoreFailure(message.message[:_MAX_FAILURE], hint)

    def _on_finished(self, worker: WorkerHandle, message: WorkerFinished) -> None:
        self._supervisor.finished(worker, message.state)
        self._feed.changed(worker.run)

    def _on_left(self, worker: WorkerHandle, message: RunLeft) -> None:
        if worker.process is not None:
            worker.process.attached.pop(worker.run, None)
            if worker.channel is not None:
                self._rates.disconnect(worker.run, worker.channel)
            self._supervisor.shared.left(worker, message.status)

    def _on_rates(self, worker: WorkerHandle, message: RateReport) -> None:
        self._rates.receive(worker.run, message)

    async def _respond(self, worker: WorkerHandle, request: ResourceRequest) -> None:
        def send(message: IpcMessage) -> None:
            if worker.channel is not None:
                worker.channel.send(message)

        try:
            response = await self._get_resource(
                worker.run, request, lambda text: send(ResourceProgress(request.id, text))
            )
        except PoError as error:
            response = ResourceResponse(request.id, error=error.to_json())
        send(response)

    def _send_watched(self, run: str | None) -> None:
        for worker in self._supervisor.processes.by_run.values():
            if worker.channel is not None and run in (None, worker.run):
                worker.channel.send(WatchedChanged(self._feed.watched(worker.run)))


def _is_peer(channel: Channel, pid: int) -> bool:
    """Whether the other end is that process, as far as the kernel says."""
    peer = channel.peer()
    return peer is None or peer[0] in (0, pid)  # 0: it cannot name a process of another pid namespace
