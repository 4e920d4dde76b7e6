"""The workers: which run has which, how their ends are noticed, and how they are ended.

What the end of one means for its run is the supervisor's matter (`on_exit`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel
from po_jupyter.ipc.messages import DrainWorker, StopWorker, StoreFailure
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.platform import processes
from po_jupyter.platform.concurrency import BackgroundTasks

log = structlog.get_logger(__name__)

_LINGER = 3.0  # s that a worker may take to exit after its last message
_LAST_MESSAGES = 0.05  # s that an adopted worker's last messages may be on their way when it is gone


class RunChannel:
    """The part of a worker's connection that is about one run."""

    __slots__ = ("_run", "channel")

    def __init__(self, channel: Channel, run: str) -> None:
        """Of the connection `channel`."""
        self.channel = channel
        self._run = run

    def send(self, message: IpcMessage) -> None:
        """Queue one message about the run. See `Channel.send`."""
        self.channel.send(message, self._run)


@dataclass(slots=True, eq=False)
class SharedProcess:
    """A process of many runs, ours or adopted, as the orchestrator knows it.

    turns       its turn file
    runs        those that it has, or will be sent once it is connected
    attached    those whose messages come over its connection; one that it was told to let go of still may
    connected   it was at least once
    reported    the runs that it said it has, and did not leave since; None: it has not said so yet
    retiring    it gets no further run, and ends when it has none
    taken       runs that it was ever sent
    environment the variables that it was started with
    cpu_before  seconds of CPU that it had used when it was last heard
    """

    identity: processes.Identity
    turns: Path
    log: Path
    ours: bool = True
    channel: Channel | None = None
    runs: dict[str, WorkerHandle] = field(default_factory=dict)
    attached: dict[str, WorkerHandle] = field(default_factory=dict)
    connected: bool = False
    reported: set[str] | None = None
    retiring: bool = False
    taken: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    cpu_before: float = 0.0
    since: float = field(default_factory=time.monotonic)
    last_message: float = field(default_factory=time.monotonic)
    end_reason: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """The id of the process, which leads its group."""
        return self.identity["pid"]

    def left(self, run: str) -> None:
        """Note that it does not have the run any more."""
        if self.reported is not None:
            self.reported.discard(run)


@dataclass(slots=True, eq=False)
class WorkerHandle:
    """The worker of one run, ours or adopted, as the orchestrator knows it: a process, or a part of a shared one.

    silence_limit   seconds without a message after which it is taken for hung
    process         the process of many runs that has this one; None: it is the run's own
    expect          the fence of the run when that process was sent it
    final_state     the state in which the run left it, from its last message
    resting         it only waits for a batch at a provider, for up to a day
    end_reason      why we ended it: cancel, silence, lingers, stuck, overtaken
    bystander       its process ended, and not because of this run
    written         the last record of its run that it said it had written, or has been told of
    requested       the last record of somebody else's that it has been told of
    store_failure   what it said of the store before it gave up
    """

    run: str
    identity: processes.Identity
    silence_limit: float
    ours: bool = True  # or adopted
    process: SharedProcess | None = None
    expect: int | None = None
    channel: RunChannel | None = None
    last_message: float = field(default_factory=time.monotonic)
    final_state: str | None = None
    cancelled: bool = False
    resting: bool = False
    written: int = 0
    requested: int = 0
    end_reason: str | None = None
    bystander: bool = False
    store_failure: StoreFailure | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """The id of the process, which leads its group."""
        return self.identity["pid"]

    @property
    def finished(self) -> bool:
        """True once the worker sent its last message."""
        return self.final_state is not None

    def heard(self) -> None:
        """Note that it sent a message."""
        self.last_message = time.monotonic()
        if self.process is not None:
            self.process.last_message = self.last_message


class WorkerProcesses:
    """The workers by their runs. `on_exit(worker, status)` runs after the end of each, once; the status is None when
    only another process could have known it."""

    def __init__(
        self, settings: Settings, on_exit: Callable[[WorkerHandle, int | None], Coroutine[object, object, None]]
    ) -> None:
        """No worker yet."""
        self._heartbeat = settings.heartbeat
        self._on_exit = on_exit
        self._exits = BackgroundTasks()
        self._watches = BackgroundTasks()
        self.by_run: dict[str, WorkerHandle] = {}

    def get(self, run: str) -> WorkerHandle | None:
        """The worker of a run."""
        return self.by_run.get(run)

    def add(self, worker: WorkerHandle) -> None:
        """Have a worker that was just started, or adopted; the end of an adopted one is watched for from here."""
        self.by_run[worker.run] = worker
        if worker.process is not None:
            worker.process.runs[worker.run] = worker
        elif not worker.ours:
            self._watch(worker)

    def remove(self, worker: WorkerHandle) -> None:
        """Forget a worker, unless its run has another one by now."""
        if self.by_run.get(worker.run) is worker:
            del self.by_run[worker.run]

    def exited(self, worker: WorkerHandle, status: int | None) -> None:
        """The process ended with this status, or (None) its zygote ended and it may have. A shared one: it works on the
        run no more."""
        if worker.ended.is_set():
            return
        if worker.process is not None:
            if worker.process.runs.get(worker.run) is worker:
                del worker.process.runs[worker.run]
                worker.process.left(worker.run)
        elif status is None and processes.alive(worker.identity):
            self._watch(worker)  # its zygote ended, not the worker
            return
        worker.ended.set()
        self._exits.start(self._on_exit(worker, status), f"after {worker.run}")

    def _watch(self, worker: WorkerHandle) -> None:
        async def watch() -> None:
            await processes.wait_for_exit(worker.identity)
            await asyncio.sleep(_LAST_MESSAGES)
            self.exited(worker, None)

        self._watches.start(watch(), f"watch {worker.run}")

    # -- ending ---------------------------------------------------------------------------------

    def kill(self, worker: WorkerHandle, reason: str) -> None:
        """Kill the process with its group, if it has not ended. A shared one is told to let go of the run, which the
        fence keeps it from writing to."""
        if worker.ended.is_set():
            return
        log.warning("ending a worker", run=worker.run, pid=worker.pid, why=reason)
        worker.end_reason = worker.end_reason or reason
        if worker.process is None:
            processes.end_group(worker.identity)
            return
        if worker.channel is not None:
            worker.channel.send(StopWorker())
        self.exited(worker, None)

    def kill_after(self, worker: WorkerHandle, delay: float, reason: str) -> None:
        """Kill the process unless it has ended by itself `delay` seconds from now."""

        async def wait_and_kill() -> None:
            await self.wait_ended([worker], delay)
            self.kill(worker, reason)

        self._watches.start(wait_and_kill(), f"end {worker.run}")

    def finished(self, worker: WorkerHandle) -> None:
        """The worker sent its last message: it exits by itself, or is killed."""
        if worker.process is None:
            self.kill_after(worker, _LINGER, "lingers")

    async def wait_finished(self, worker: WorkerHandle) -> None:
        """Wait for a worker that sent its last message to be gone, and forget it."""
        await self.wait_ended([worker], _LINGER + 1)
        self.kill(worker, "lingers")
        self.by_run.pop(worker.run, None)

    def drain(self) -> list[WorkerHandle]:
        """Tell every worker to finish what is in flight, to give its run back and to exit; those that were told."""
        workers = list(self.by_run.values())
        for worker in workers:
            if worker.channel is not None:
                worker.channel.send(DrainWorker())
            elif worker.process is None or not worker.process.connected:
                processes.ask_to_end(worker.identity)
        return workers

    async def wait_ended(self, workers: list[WorkerHandle], seconds: float) -> None:
        """Wait until all of them ended, but not longer."""
        try:
            async with asyncio.timeout(seconds):
                for worker in workers:
                    await worker.ended.wait()
        except TimeoutError:
            pass

    async def watch_silence(self) -> None:
        """Kill workers that sent nothing for longer than any of their stages may take, but no shared ones. Runs until
        cancelled.

        Time passes here in short steps that count for at most twice their length: a suspended laptop adds
        nothing.
        """
        silent: dict[int, float] = {}
        while True:
            before = time.monotonic()
            await asyncio.sleep(self._heartbeat)
            passed = min(time.monotonic() - before, 2 * self._heartbeat)
            for worker in list(self.by_run.values()):
                key = id(worker)
                if worker.last_message >= before or worker.finished or worker.process is not None:
                    silent.pop(key, None)
                    continue
                silent[key] = silent.get(key, 0.0) + passed
                if silent[key] > worker.silence_limit:
                    self.kill(worker, "silence")

    async def close(self) -> None:
        """Let what follows the end of a worker finish, and watch no more. Ends no worker."""
        # It is short, and kills what the worker left behind.
        await self._exits.wait()
        await self._exits.cancel()
        await self._watches.cancel()
