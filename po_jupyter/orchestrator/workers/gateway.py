"""The gateway: the orchestrator's side of the connections of its workers, and of other servers that notify it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from po_jupyter.errors import PoError
from po_jupyter.ipc.channel import Channel
from po_jupyter.ipc.messages import (
    Heartbeat,
    LogGrew,
    Notify,
    NotifyReply,
    RateHistory,
    RatePermitDropped,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RateReport,
    ResourceProgress,
    ResourceRequest,
    ResourceResponse,
    RestingChanged,
    StopWorker,
    StoreFailure,
    TextPiece,
    WatchedChanged,
    Welcome,
    WorkerFinished,
    WorkerHello,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.workers.processes import WorkerHandle
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Store

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
    ) -> None:
        """`serve` is for the `Listener`."""
        self._supervisor = supervisor
        self._store = store
        self._feed = feed
        self._to_thread = to_thread
        self._get_resource = get_resource
        self._rates = rates
        self._handlers: dict[type[IpcMessage], Callable[[WorkerHandle, Any], None]] = {
            Heartbeat: self._on_heartbeat,
            LogGrew: self._on_log_grew,
            TextPiece: self._on_text,
            ResourceRequest: self._on_request,
            RestingChanged: self._on_resting,
            StoreFailure: self._on_store_failure,
            WorkerFinished: self._on_finished,
            RateHistory: self._on_rates,
            RatePermitRequest: self._on_rates,
            RatePermitDropped: self._on_rates,
            RatePermitUsed: self._on_rates,
            RatePermitRefused: self._on_rates,
        }
        feed.on_subscribers_changed(self._send_watched)

    async def serve(self, channel: Channel, first: IpcMessage) -> None:
        """Serve one connection, from its first message to its end."""
        if isinstance(first, Notify):
            if first.run is not None:
                await self._supervisor.attend(first.run)
            load = self._supervisor.load()
            channel.send(NotifyReply({**load, "waits": self._rates.waits(), "rates": self._rates.limits()}))
            await channel.drain()
        elif isinstance(first, WorkerHello):
            await self._serve_worker(channel, first)

    async def _serve_worker(self, channel: Channel, hello: WorkerHello) -> None:
        worker = await self._identify(channel, hello)
        if worker is None:
            channel.send(StopWorker())
            await channel.drain()
            return
        adopted = worker.channel is None and not worker.ours
        worker.channel = channel
        worker.last_message = time.monotonic()
        rates = self._rates.connect(worker.run, channel)
        channel.send(Welcome(self._feed.watched(worker.run), rates))
        self._supervisor.connected(worker, adopted=adopted)
        try:
            while (message := await channel.receive()) is not None:
                worker.last_message = time.monotonic()
                handler = self._handlers.get(type(message))
                if handler is not None:
                    handler(worker, message)
        finally:
            self._rates.disconnect(worker.run, channel)
        if worker.channel is channel:
            worker.channel = None

    async def _identify(self, channel: Channel, hello: WorkerHello) -> WorkerHandle | None:
        """The worker at the other end, or None for one that has no business here any more."""
        run, peer = hello.run, channel.peer()
        if peer is not None and peer[0] not in (0, hello.pid):
            return None  # 0: the kernel cannot name a process of another pid namespace
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
                if holder is None or head["fence"] != hello.fence or holder["pid"] != hello.pid:
                    return None
                return self._supervisor.adopt(head)
        worker = workers.get(run)
        return worker if worker is not None and worker.pid == hello.pid else None

    # -- messages of workers --------------------------------------------------------------------

    def _on_heartbeat(self, worker: WorkerHandle, message: Heartbeat) -> None:
        if worker.channel is not None:
            worker.channel.send(Heartbeat())

    def _on_log_grew(self, worker: WorkerHandle, message: LogGrew) -> None:
        worker.written = max(worker.written, message.n)
        self._supervisor.clear_store_wait(worker.run)
        self._feed.changed(worker.run)

    def _on_text(self, worker: WorkerHandle, message: TextPiece) -> None:
        self._feed.text(worker.run, message.to_json())

    def _on_request(self, worker: WorkerHandle, message: ResourceRequest) -> None:
        self._supervisor.run_in_background(self._respond(worker, message), f"request of {worker.run}")

    def _on_resting(self, worker: WorkerHandle, message: RestingChanged) -> None:
        worker.resting = message.on
        self._supervisor.pump()

    def _on_store_failure(self, worker: WorkerHandle, message: StoreFailure) -> None:
        hint = (message.hint or "")[:_MAX_FAILURE]
        worker.store_failure = StoreFailure(message.message[:_MAX_FAILURE], hint)

    def _on_finished(self, worker: WorkerHandle, message: WorkerFinished) -> None:
        self._supervisor.finished(worker, message.state)
        self._feed.changed(worker.run)

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
