"""A worker's link to its orchestrator: one connection, kept up over restarts of the orchestrator.

It connects as soon as the worker has its run, while the run's log is still read. What the orchestrator sends before
the run can act on it (a drain, a cancel) is kept until `listen`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.calls.attempt_calls import StreamedText
from po_jupyter.errors import Unavailable, from_json
from po_jupyter.ipc.channel import Channel, connect
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import (
    CancelRequested,
    DrainWorker,
    Heartbeat,
    LimitedModels,
    LogGrew,
    LookAtLog,
    RateMessage,
    RatePermitDenied,
    RatePermitGranted,
    RatePermitWait,
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
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head

log = structlog.get_logger(__name__)

_FIRST = 0.05  # s until the first connection, unless somebody watches: many runs are over by then
_RECONNECT = 0.25  # s between looks for a new orchestrator
_TEXT_RATE = 0.05  # s between messages with text: 20 a second read as live
_TEXT_MAX = 100_000  # characters kept until the next of them
_COMMIT_RATE = 0.05  # s between notes of commits
_LAST_MESSAGE = 1.0  # s that the last message may take to leave this process


@dataclass(frozen=True, slots=True)
class LinkHandlers:
    """The handlers of a worker for the messages of its orchestrator; called on the loop.

    `look` reads the run's log again, `drain` stops starting things, `welcome` gets the first message of each
    connection, `rates` each message of the limiter.
    """

    look: Callable[[], object]
    drain: Callable[[], object]
    welcome: Callable[[Welcome], object]
    rates: Callable[[RateMessage], object]


class _OpenRequest(NamedTuple):
    message: ResourceRequest
    response: asyncio.Future[ResourceResponse]
    progress: Callable[[str], None]


def _exit_overtaken() -> None:
    os._exit(ExitStatus.OVERTAKEN)


class OrchestratorLink:
    """The connection of one worker. `start` connects, `listen` says what is done about messages."""

    def __init__(
        self,
        address: Path,
        settings: Settings,
        *,
        run: str,
        eager: bool = False,
        credential: Credential | None = None,
        stop: Callable[[], object] = _exit_overtaken,
    ) -> None:
        """`eager` connects at once; `credential` is for a connection over TCP. `stop` is called when another process
        has the run: by default it ends this one."""
        # Whoever submits a run starts to watch it a moment later: until the orchestrator says otherwise
        # somebody does, or the first answer would not be seen as it is written.
        self.watched = True
        self._address = address
        self._credential = credential
        self._settings = settings
        self._run = run
        self._fence = 0
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._connect_now = asyncio.Event()
        if eager:
            self._connect_now.set()
        self._ids = itertools.count(1)
        self._requests: dict[int, _OpenRequest] = {}
        self._texts: dict[tuple[str, int], TextPiece] = {}
        self._text_timer: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._last_message = 0.0  # by the loop's clock: when something was received
        self._finished = asyncio.Event()
        self._welcomed = asyncio.Event()
        self._resting = False
        self._tasks: list[asyncio.Task[None]] = []
        self._undelivered: list[IpcMessage] = []
        self._listening = False
        self._handlers: dict[type[IpcMessage], Callable[[Any], object]] = {
            WatchedChanged: self._on_watched,
            ResourceResponse: self._on_response,
            ResourceProgress: self._on_progress,
            Heartbeat: lambda message: None,
            StopWorker: lambda message: stop(),
        }

    def start(self, fence: int) -> None:
        """Look for the orchestrator from now on; `fence` is the one under which the worker has its run."""
        self._fence = fence
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name="orchestrator link"),
            asyncio.create_task(self._beat(), name="heartbeat"),
        ]

    def listen(self, handlers: LinkHandlers) -> None:
        """Have messages handled from now on; those that came before are handled first, in their order."""
        rates = dict.fromkeys(
            (LimitedModels, RatePermitGranted, RatePermitDenied, RatePermitWait), handlers.rates
        )
        self._handlers |= {
            Welcome: handlers.welcome,
            LookAtLog: lambda message: handlers.look(),
            CancelRequested: lambda message: handlers.look(),
            DrainWorker: lambda message: handlers.drain(),
            **rates,
        }
        self._listening = True
        undelivered, self._undelivered = self._undelivered, []
        for message in undelivered:
            self.deliver(message)

    def deliver(self, message: IpcMessage) -> None:
        """Handle a message as if the orchestrator had sent it: now, or once somebody listens."""
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)
        elif not self._listening:
            self._undelivered.append(message)

    # -- to the orchestrator --------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while an orchestrator receives messages."""
        return self._channel is not None

    def send(self, message: IpcMessage) -> None:
        """Send a message that is worth nothing later; without an orchestrator it is dropped."""
        if self._channel is not None:
            self._channel.send(message)

    def connect_now(self) -> None:
        """End the pause before the first connection: somebody waits for the orchestrator."""
        self._connect_now.set()

    def committed(self, head: Head) -> None:
        """The log grew. Sent at most 20 times a second; the last state is always sent."""
        self._head = head
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(_COMMIT_RATE, self._send_head)

    def _send_head(self) -> None:
        self._head_timer = None
        head, self._head = self._head, None
        if head is not None:
            self.send(LogGrew(head["n"], head["offset"], head["state"]))

    def text(self, piece: StreamedText) -> None:
        """A piece of a model's answer; pieces of one answer are joined."""
        if not self.watched:
            return
        key = (piece["task"], piece["round"])
        before = self._texts.get(key)
        if before is None:
            self._texts[key] = TextPiece(piece["task"], piece["text"], piece["round"], piece["attempt"])
        elif len(before.text) < _TEXT_MAX:
            self._texts[key] = replace(before, text=before.text + piece["text"])
        if self._text_timer is None:
            self._text_timer = self._loop.call_later(_TEXT_RATE, self._send_texts)

    def _send_texts(self) -> None:
        self._text_timer = None
        if self._channel is None and self.watched and not self._finished.is_set():
            return  # sent once there is a connection
        texts, self._texts = self._texts, {}
        if self.watched:
            for piece in texts.values():
                self.send(piece)

    def rest(self, resting: bool) -> None:
        """From now on the worker only waits for a batch at a provider, or does not."""
        if resting != self._resting:
            self._resting = resting
            self.send(RestingChanged(resting))

    async def request(self, resource: str, progress: Callable[[str], None], *, model: str) -> ResourceResponse:
        """Get from the orchestrator what only it has; requested again when a new orchestrator takes over.

        `progress` is told meanwhile, for people, what it waits for. Raises the error that the orchestrator answers
        with, and Unavailable when there is none for `orphan_timeout`.
        """
        message = ResourceRequest(next(self._ids), resource, model)
        response: asyncio.Future[ResourceResponse] = self._loop.create_future()
        self._requests[message.id] = _OpenRequest(message, response, progress)
        self.connect_now()
        self.send(message)
        try:
            answer = await response
        finally:
            del self._requests[message.id]
        if answer.error:
            raise from_json(answer.error)
        return answer

    def end_requests(self, reason: str) -> None:
        """Have every open `request` raise Unavailable: nobody waits for an answer any more."""
        for request in self._requests.values():
            if not request.response.done():
                request.response.set_exception(Unavailable(reason))

    async def finished(self, state: str) -> None:
        """Send the last message: the state in which the run leaves this process. The exit status and the store say
        the same, so that no orchestrator has to be there."""
        self._finished.set()
        self._send_texts()
        await self._send_last(WorkerFinished(state))

    async def store_failed(self, message: str, hint: str) -> None:
        """Send the last message of a worker that cannot write: why. The exit status says the rest.

        One that could not even claim its run, or fails before it is connected, connects for it.
        """
        self._finished.set()
        self.connect_now()
        if not self._tasks:
            self.start(fence=0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MESSAGE):
                await self._welcomed.wait()
        await self._send_last(StoreFailure(message, hint))

    async def _send_last(self, message: IpcMessage) -> None:
        if self._channel is not None:
            self._channel.send(message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_MESSAGE):
                    await self._channel.drain()

    async def close(self) -> None:
        """End the connection."""
        for timer in (self._text_timer, self._head_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    # -- from the orchestrator ------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST):
                await self._connect_now.wait()
        while True:
            try:
                channel = await connect(self._address, self._credential)
            except (OSError, TimeoutError):
                await asyncio.sleep(_RECONNECT)
                continue
            me = processes.myself()
            channel.send(WorkerHello(self._run, me["pid"], me["created"], self._fence))
            try:
                await self._receive(channel)
            finally:
                self._channel = None
                self._welcomed.clear()
                await channel.close()
            await asyncio.sleep(_RECONNECT)

    async def _receive(self, channel: Channel) -> None:
        self._last_message = self._loop.time()
        while (message := await channel.receive()) is not None:
            self._last_message = self._loop.time()
            if isinstance(message, Welcome):
                self._connected(channel, message)
            self.deliver(message)

    def _connected(self, channel: Channel, welcome: Welcome) -> None:
        self.watched = welcome.watched
        self._channel = channel
        self._welcomed.set()
        channel.send(RestingChanged(self._resting))
        self._send_texts()
        for request in self._requests.values():
            channel.send(request.message)

    def _on_watched(self, message: WatchedChanged) -> None:
        self.watched = message.on

    def _on_response(self, message: ResourceResponse) -> None:
        request = self._requests.get(message.id)
        if request is not None and not request.response.done():
            request.response.set_result(message)

    def _on_progress(self, message: ResourceProgress) -> None:
        request = self._requests.get(message.id)
        if request is not None:
            request.progress(message.text)

    async def _beat(self) -> None:
        """Send that we live, notice when no orchestrator does: then drain.

        The time alone is summed up from short steps that each count for at most twice their length: minutes
        in which this process was stopped, or the laptop slept, are not minutes without an orchestrator.
        """
        step = min(self._settings.heartbeat, self._settings.orphan_timeout / 5)
        alone = 0.0
        while True:
            before = self._loop.time()
            await asyncio.sleep(step)
            now = self._loop.time()
            if self._channel is not None:
                self._channel.send(Heartbeat())
                if now - self._last_message < max(self._settings.lease_ttl, 4 * step):
                    alone = 0.0
                    continue
                # Connected, and nothing comes: a stopped process keeps its sockets. Look for another one.
                await self._channel.close()
            alone += min(now - before, 2 * step)
            if alone >= self._settings.orphan_timeout and not self._finished.is_set():
                log.warning("no orchestrator", seconds=round(alone, 1), does="drains and exits")
                self.end_requests("there is no orchestrator any more")
                self.deliver(DrainWorker())
                return
