"""A worker's end of the link: it keeps a connection to whoever orchestrates, over restarts of it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import Unavailable, from_json
from po_jupyter.ipc.channel import OVERTAKEN, Channel, Message, connect
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head

log = structlog.get_logger(__name__)

_FIRST = 0.05  # s until the first connection, unless somebody watches: many runs are over by then
_RECONNECT = 0.25  # s between looks for a new orchestrator
_TEXT_RATE = 0.05  # s between messages with text: 20 a second read as live
_TEXT_MAX = 100_000  # characters kept until the next of them
_COMMIT_RATE = 0.05  # s between notes of commits


def _nothing() -> None:
    return None


def _unheard(message: Message) -> None:
    return None


class _Need(NamedTuple):
    message: Message
    answer: asyncio.Future[Message]
    progress: Callable[[str], None]


class Uplink:
    """The connection of one worker.

    `on_look` is called when the log should be read again, `on_cancel` and `on_drain` when this is asked for,
    `on_stop` when somebody else has the run, `on_welcome` with each new connection's first message, `on_rate` with
    a word about limits (`rate_limits`).
    """

    def __init__(self, address: Path, settings: Settings, *, run: str, watched: bool = False) -> None:
        # Whoever submits a run starts to watch it a moment later: until the orchestrator says otherwise
        # somebody does, or the first answer would not be seen as it is written.
        self.watched = True
        self._eager = watched
        self.on_look: Callable[[], Any] = _nothing
        self.on_cancel: Callable[[], Any] = _nothing
        self.on_drain: Callable[[], Any] = _nothing
        self.on_stop: Callable[[], Any] = lambda: os._exit(OVERTAKEN)
        self.on_welcome: Callable[[Message], Any] = _unheard
        self.on_rate: Callable[[Message], Any] = _unheard
        self._address = address
        self._settings = settings
        self._run = run
        self._fence = 0
        self._channel: Channel | None = None
        self._hurry = asyncio.Event()  # set when the connection is needed now
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._needs: dict[int, _Need] = {}
        self._texts: dict[tuple[Any, ...], Message] = {}
        self._text_timer: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._ended = asyncio.Event()
        self._resting = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, fence: int) -> None:
        """Look for the orchestrator from now on."""
        self._fence = fence
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name="uplink"),
            asyncio.create_task(self._beat(), name="heartbeat"),
        ]

    # -- what the worker says -------------------------------------------------------------------

    def committed(self, head: Head) -> None:
        """The log grew. Told at most 20 times a second; the last state is always told."""
        self._head = head
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(_COMMIT_RATE, self._tell_head)

    def _tell_head(self) -> None:
        self._head_timer = None
        head, self._head = self._head, None
        if head is not None and self._channel is not None:
            self._channel.send("committed", n=head["n"], offset=head["offset"], state=head["state"])

    def text(self, note: Mapping[str, Any]) -> None:
        """A piece of a model's answer, `{task, item?, text, round}`; pieces of one answer are joined."""
        if not self.watched:
            return
        key = (note.get("task"), note.get("item"), note.get("round"))
        known = self._texts.get(key)
        if known is None:
            self._texts[key] = dict(note)
        elif len(known["text"]) < _TEXT_MAX:
            known["text"] += note["text"]
        if self._text_timer is None:
            self._text_timer = self._loop.call_later(_TEXT_RATE, self._tell_texts)

    def _tell_texts(self) -> None:
        self._text_timer = None
        if self._channel is None and self.watched and not self._ended.is_set():
            return  # told when connected
        texts, self._texts = self._texts, {}
        if self._channel is not None and self.watched:
            for text in texts.values():
                self._channel.send("text", **text)

    def rest(self, resting: bool) -> None:
        """All that this worker does is to wait for a batch at a provider, or that is over."""
        if resting != self._resting:
            self._resting = resting
            if self._channel is not None:
                self._channel.send("rest", on=resting)

    @property
    def connected(self) -> bool:
        """Whether an orchestrator hears."""
        return self._channel is not None

    def tell(self, op: str, **fields: Any) -> None:
        """Say something that is worth nothing when nobody hears it."""
        if self._channel is not None:
            self._channel.send(op, **fields)

    def hurry(self) -> None:
        """Connect now: somebody waits for the orchestrator."""
        self._hurry.set()

    async def need(self, what: str, progress: Callable[[str], None], **fields: Any) -> Message:
        """Ask the orchestrator for something only it has; asked again when a new one takes over.

        `progress` hears what it waits for meanwhile. Raises the error that the orchestrator answers with,
        and Unavailable when none is there in time.
        """
        number = next(self._ids)
        message: Message = {"id": number, "what": what, **fields}
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._needs[number] = _Need(message, answer, progress)
        self._hurry.set()
        if self._channel is not None:
            self._channel.send("need", **message)
        try:
            said = await answer
        finally:
            self._needs.pop(number, None)
        if said.get("error"):
            raise from_json(said["error"])
        return said

    async def bye(self, state: str) -> None:
        """The last word: in which state the run leaves this process. The exit status and the store say the
        same, so nobody has to be there to hear it."""
        self._ended.set()
        self._tell_texts()
        if self._channel is not None:
            self._channel.send("bye", state=state)
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._channel.drain()

    async def failed(self, message: str, hint: str) -> None:
        """The last word of a worker that cannot write: why. The exit status says the rest."""
        self._ended.set()
        if self._channel is not None:
            self._channel.send("failed", message=message, hint=hint)
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._channel.drain()

    async def close(self) -> None:
        """Hang up."""
        for timer in (self._text_timer, self._head_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    # -- what it hears --------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        if not self._eager:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST):
                    await self._hurry.wait()
        while True:
            try:
                channel = await connect(self._address)
            except OSError:
                await asyncio.sleep(_RECONNECT)
                continue
            me = processes.myself()
            channel.send("hello", run=self._run, pid=me["pid"], created=me["created"], fence=self._fence)
            try:
                await self._listen(channel)
            finally:
                self._channel = None
                await channel.close()
            await asyncio.sleep(_RECONNECT)

    async def _listen(self, channel: Channel) -> None:
        self._heard = self._loop.time()
        while (message := await channel.receive()) is not None:
            self._heard = self._loop.time()
            match message["op"]:
                case "welcome":
                    self.watched = bool(message.get("watched"))
                    self._channel = channel
                    channel.send("rest", on=self._resting)
                    self._tell_texts()
                    self.on_welcome(message)
                    for need in self._needs.values():
                        channel.send("need", **need.message)
                case "watched":
                    self.watched = bool(message.get("on"))
                case "look":
                    self.on_look()
                case "cancel":
                    self.on_cancel()
                case "drain":
                    self.on_drain()
                case "stop":
                    self.on_stop()
                case "answer":
                    waiting = self._needs.get(message.get("id", 0))
                    if waiting is not None and not waiting.answer.done():
                        waiting.answer.set_result(message)
                case "rate.go" | "rate.no" | "rate.wait" | "rate.limited":
                    self.on_rate(message)
                case "progress":
                    waiting = self._needs.get(message.get("id", 0))
                    if waiting is not None:
                        waiting.progress(str(message.get("text")))

    async def _beat(self) -> None:
        """Say that we live, notice when nobody answers.

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
                self._channel.send("beat")
                if now - self._heard < max(self._settings.lease_ttl, 4 * step):
                    alone = 0.0
                    continue
                # Connected, and nobody speaks: a stopped process keeps its sockets. Look for another one.
                await self._channel.close()
            alone += min(now - before, 2 * step)
            if alone >= self._settings.orphan_timeout and not self._ended.is_set():
                log.warning("no orchestrator", seconds=round(alone, 1), does="drains and exits")
                for need in self._needs.values():
                    if not need.answer.done():
                        need.answer.set_exception(Unavailable("there is no orchestrator any more"))
                self.on_drain()
                return
