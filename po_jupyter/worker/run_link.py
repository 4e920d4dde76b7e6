"""A run's end of its process's link: what the run sends to the orchestrator, and what it is sent.

What the orchestrator sends before the run can act on it (a drain, a cancel) is kept until `listen`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from po_jupyter.engine.calls.attempt_calls import StreamedText
from po_jupyter.engine.replay.run_log import LINGER
from po_jupyter.errors import Unavailable, from_json
from po_jupyter.ipc.messages import (
    CancelRequested,
    ChildChanged,
    DrainWorker,
    Heartbeat,
    LogGrew,
    LookAtLog,
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
)
from po_jupyter.ipc.rate_messages import (
    LimitedModels,
    RateMessage,
    RatePermitDenied,
    RatePermitGranted,
    RatePermitWait,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import Head
from po_jupyter.worker.orchestrator_link import OrchestratorLink, exit_overtaken

_TEXT_RATE = 0.05  # s between messages with text: 20 a second read as live
_TEXT_MAX = 100_000  # characters kept until the next of them
_COMMIT_RATE = 0.05  # s between notes of commits ...
_UNWATCHED_RATE = 0.5  # s where nobody watches the run
_LINGER_OF_MANY = 0.002  # s for each run of the process ...
_LINGER_MOST = 0.5  # s, at most
_RATE_OF_MANY = 0.002  # s for each run of the process: 500 notes a second of all together
_LAST_MESSAGE = 1.0  # s that a connection for the last message may take


@dataclass(frozen=True, slots=True)
class LinkHandlers:
    """The handlers of a run's worker for the messages of its orchestrator; called on the loop.

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


class RunLink:
    """The messages of one run. `start` says that this process has it, `listen` what is done about messages."""

    def __init__(
        self, link: OrchestratorLink, run: str, *, stop: Callable[[], object] = exit_overtaken
    ) -> None:
        """Over the link of the process. `stop` is called when another process has the run: by default it ends this
        one."""
        # Whoever submits a run starts to watch it a moment later: until the orchestrator says otherwise
        # somebody does, or the first answer would not be seen as it is written.
        self.watched = True
        self.run = run
        self.fence = 0
        self._link = link
        self._loop = link.loop
        self._ids = itertools.count(1)
        self._requests: dict[int, _OpenRequest] = {}
        self._texts: dict[tuple[str, int], TextPiece] = {}
        self._text_timer: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self.is_finished = False
        self._welcomed = asyncio.Event()
        self._resting = False
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
        """Have the orchestrator looked for from now on; `fence` is the one under which this process has the run."""
        self.fence = fence
        self._link.join(self)
        self._link.start()

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
            self._handle(message)

    def deliver(self, message: IpcMessage) -> None:
        """Handle a message as if the orchestrator had sent it: now, or once somebody listens."""
        if isinstance(message, Welcome):
            self._connected(message)
        self._handle(message)

    def _handle(self, message: IpcMessage) -> None:
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)
        elif not self._listening:
            self._undelivered.append(message)

    # -- to the orchestrator --------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while an orchestrator receives messages."""
        return self._welcomed.is_set()

    def send(self, message: IpcMessage) -> None:
        """Send a message that is worth nothing later; without an orchestrator it is dropped."""
        if self._welcomed.is_set():
            self._link.send(message, self.run)

    def connect_now(self) -> None:
        """End the pause before the first connection: somebody waits for the orchestrator."""
        self._link.connect_now()

    def linger(self) -> float:
        """Seconds that an event may wait for a commit to go along with: longer among many runs, whose commits are late
        because of each other."""
        return max(LINGER, min(_LINGER_MOST, _LINGER_OF_MANY * self._link.runs))

    def committed(self, head: Head) -> None:
        """The log grew. Sent at most 20 times a second; the last state is always sent."""
        self._head = head
        if self._head_timer is None:
            pause = max(_COMMIT_RATE if self.watched else _UNWATCHED_RATE, _RATE_OF_MANY * self._link.runs)
            self._head_timer = self._loop.call_later(pause, self._send_head)

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
        if not self.connected and self.watched and not self.is_finished:
            return  # sent once there is a connection
        texts, self._texts = self._texts, {}
        if self.watched:
            for piece in texts.values():
                self.send(piece)

    def rest(self, resting: bool) -> None:
        """From now on the run only waits for a batch at a provider, or does not."""
        if resting != self._resting:
            self._resting = resting
            self.send(RestingChanged(resting))

    def child_changed(self, child: str) -> None:
        """A child run was created, or its log was written to."""
        self.send(ChildChanged(child))

    async def request(
        self,
        resource: str,
        progress: Callable[[str], None],
        *,
        model: str | None = None,
        about: JsonObject | None = None,
    ) -> ResourceResponse:
        """Get from the orchestrator what only it has; requested again when a new orchestrator takes over.

        `progress` is told meanwhile, for people, what it waits for. Raises the error that the orchestrator answers
        with, and Unavailable when there is none for `orphan_timeout`.
        """
        message = ResourceRequest(next(self._ids), resource, model, about)
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
        self.is_finished = True
        self._send_texts()
        self.send(WorkerFinished(state))
        await self._link.drain()

    async def store_failed(self, message: str, hint: str) -> None:
        """Send the last message of a worker that cannot write: why. The exit status says the rest.

        One that could not even claim its run, or fails before it is connected, connects for it.
        """
        self.is_finished = True
        self.connect_now()
        if not self._link.is_started:
            self.start(fence=0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MESSAGE):
                await self._welcomed.wait()
        self.send(StoreFailure(message, hint))
        await self._link.drain()

    def close(self) -> None:
        """End the run's part of the connection."""
        for timer in (self._text_timer, self._head_timer):
            if timer is not None:
                timer.cancel()
        self._link.leave(self)

    # -- from the orchestrator ------------------------------------------------------------------

    def _connected(self, welcome: Welcome) -> None:
        self.watched = welcome.watched
        self._welcomed.set()
        self.send(RestingChanged(self._resting))
        self._send_texts()
        for request in self._requests.values():
            self.send(request.message)

    def disconnected(self) -> None:
        """See `LinkedRun`."""
        self._welcomed.clear()

    def abandoned(self) -> None:
        """See `LinkedRun`."""
        self.end_requests("there is no orchestrator any more")
        self.deliver(DrainWorker())

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
