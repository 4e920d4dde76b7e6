"""The link of a worker process to its orchestrator: one connection for all its runs, kept up over restarts.

Each message names its run (`ipc.messages`); what one run sends and gets is its `run_link.RunLink`. A process of one run
is the case of one: its connection begins with the run's hello, that of a process of many with its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel, connect
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import (
    DrainWorker,
    Heartbeat,
    RunLeft,
    SharedHello,
    StopWorker,
    TakeRun,
    WorkerHello,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.platform import processes

log = structlog.get_logger(__name__)

_FIRST = 0.05  # s until the first connection, unless somebody watches: many runs are over by then
_RECONNECT = 0.25  # s between looks for a new orchestrator
_IDLE = 1.0  # s that a process of many runs stays without any, once its orchestrator is gone
_LAST_MESSAGE = 1.0  # s that the last message may take to leave this process


class LinkedRun(Protocol):
    """A run's end of the link (`run_link.RunLink`)."""

    run: str
    fence: int

    @property
    def is_finished(self) -> bool:
        """True once the run's last message was sent: no orchestrator is missed."""
        ...

    def deliver(self, message: IpcMessage) -> None:
        """Handle a message about the run."""
        ...

    def disconnected(self) -> None:
        """The connection ended."""
        ...

    def abandoned(self) -> None:
        """There is no orchestrator any more: drain."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessHandlers:
    """The handlers of a process of many runs, called on the loop.

    `take` works a run off too, `drain` gives all runs back, `disconnected` is called when a connection ended.
    """

    take: Callable[[TakeRun], object]
    drain: Callable[[], object]
    disconnected: Callable[[], object]


def exit_overtaken() -> None:
    """End this process, whose run another one has."""
    os._exit(ExitStatus.OVERTAKEN)


class OrchestratorLink:
    """The connection of one process. `start` connects; runs `join` and `leave`."""

    def __init__(
        self,
        address: Path,
        settings: Settings,
        *,
        eager: bool = False,
        shared: ProcessHandlers | None = None,
        credential: Credential | None = None,
    ) -> None:
        """`eager` connects at once; `credential` is for a connection over TCP. `shared` are the handlers of a process
        of many runs."""
        self.loop = asyncio.get_running_loop()
        self._address = address
        self._credential = credential
        self._settings = settings
        self._shared = shared
        self._runs: dict[str, LinkedRun] = {}
        self._left: dict[str, int] = {}  # runs that left while nobody heard it, with their statuses
        self._channel: Channel | None = None  # once something was received on it
        self._was_connected = False
        self._connect_now = asyncio.Event()
        if eager:
            self._connect_now.set()
        self._last_message = 0.0  # by the loop's clock: when something was received
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_started(self) -> bool:
        """True once it looks for the orchestrator."""
        return bool(self._tasks)

    @property
    def runs(self) -> int:
        """The number of runs that use it."""
        return len(self._runs)

    def start(self) -> None:
        """Look for the orchestrator from now on."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._stay_connected(), name="orchestrator link"),
                asyncio.create_task(self._beat(), name="heartbeat"),
            ]

    def join(self, run: LinkedRun) -> None:
        """Have the messages about a run delivered to it."""
        self._runs[run.run] = run

    def leave(self, run: LinkedRun) -> None:
        """Deliver nothing more to it."""
        if self._runs.get(run.run) is run:
            del self._runs[run.run]

    def connect_now(self) -> None:
        """End the pause before the first connection: somebody waits for the orchestrator."""
        self._connect_now.set()

    def send(self, message: IpcMessage, run: str) -> None:
        """Send a message about a run; without an orchestrator it is dropped."""
        if self._channel is not None:
            self._channel.send(message, run)

    def left(self, run: str, status: int) -> None:
        """Say that a process of many runs works on this one no more, to the next orchestrator if need be."""
        if self._channel is not None:
            self._channel.send(RunLeft(status), run)
        else:
            self._left[run] = status

    async def drain(self) -> None:
        """Wait until what was sent has left this process, but not for long."""
        if self._channel is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_MESSAGE):
                    await self._channel.drain()

    async def close(self) -> None:
        """End the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    # -- from the orchestrator ------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        if self._shared is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST):
                    await self._connect_now.wait()
        while True:
            try:
                channel = await connect(self._address, self._credential)
            except (OSError, TimeoutError):
                await asyncio.sleep(_RECONNECT)
                continue
            self._greet(channel)
            try:
                await self._receive(channel)
            finally:
                self._channel = None
                for run in list(self._runs.values()):
                    run.disconnected()
                await channel.close()
            if self._shared is not None:
                self._shared.disconnected()
            await asyncio.sleep(_RECONNECT)

    def _greet(self, channel: Channel) -> None:
        me = processes.myself()
        if self._shared is not None:
            channel.send(SharedHello(me["pid"], me["created"], [*self._runs, *self._left]))
            for left, status in self._left.items():
                channel.send(RunLeft(status), left)
            self._left.clear()
        for run in self._runs.values():
            channel.send(WorkerHello(run.run, me["pid"], me["created"], run.fence))

    async def _receive(self, channel: Channel) -> None:
        self._last_message = self.loop.time()
        while (addressed := await channel.receive_addressed()) is not None:
            self._last_message = self.loop.time()
            self._channel = channel
            self._was_connected = True
            self._dispatch(*addressed)

    def _dispatch(self, message: IpcMessage, run: str | None) -> None:
        if isinstance(message, TakeRun):
            if self._shared is not None:
                self._shared.take(message)
        elif run is None and self._shared is None:
            for only in list(self._runs.values()):  # an orchestrator before 0.2.0 names no run
                only.deliver(message)
        elif run is not None:
            if (linked := self._runs.get(run)) is not None:
                linked.deliver(message)
        elif isinstance(message, DrainWorker | StopWorker) and self._shared is not None:
            self._shared.drain()

    async def _beat(self) -> None:
        """Send that we live, notice when no orchestrator does: then drain.

        The time alone is summed up from short steps that each count for at most twice their length: minutes
        in which this process was stopped, or the laptop slept, are not minutes without an orchestrator.
        """
        step = min(self._settings.heartbeat, self._settings.orphan_timeout / 5)
        alone = 0.0
        while True:
            before = self.loop.time()
            await asyncio.sleep(step)
            now = self.loop.time()
            if now - before > 2 * step:
                self._last_message = now  # it was us who stood still: what came meanwhile is still to be read
            if self._channel is not None:
                self._channel.send(Heartbeat())
                # Of a node both waits together are less than its term, after which its runs go to others.
                patience = min(self._settings.lease_ttl, self._settings.orphan_timeout)
                if now - self._last_message < max(patience, 4 * step):
                    alone = 0.0
                    continue
                # Connected, and nothing comes: a stopped process keeps its sockets. Look for another one.
                await self._channel.close()
            alone += min(now - before, 2 * step)
            # Nothing is to be given back, and a new orchestrator starts a process of its own.
            idle = self._shared is not None and self._was_connected and not self._runs
            if alone >= (min(_IDLE, self._settings.orphan_timeout) if idle else self._settings.orphan_timeout):
                self._abandon(alone)
                return

    def _abandon(self, alone: float) -> None:
        runs = [run for run in self._runs.values() if not run.is_finished]
        if not runs and self._shared is None:
            return
        log.warning("no orchestrator", seconds=round(alone, 1), does="drains and exits")
        for run in runs:
            run.abandoned()
        if self._shared is not None:
            self._shared.drain()
