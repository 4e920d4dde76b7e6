"""The processes of many runs: which run goes to which, how they are renewed, and whom the end of one counts against.

Few processes do it: a second one is started when the first has its hands full, as many as there are processors. One
that worked for long, or grew, gets no more runs and ends when it has none; those that stay long it gives back.

When one ends, the runs whose turn it was (`ipc.turn_file`) are suspects: for them it counts as a crash, and from then
on each has a process of its own. The others go on where they were, and nothing is counted.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import psutil
import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, SpawnFailed
from po_jupyter.ipc.channel import Channel
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import DrainWorker, SharedHello
from po_jupyter.ipc.turn_file import SLOTS, read_turns, turn_file_of
from po_jupyter.orchestrator.workers.processes import SharedProcess, WorkerHandle, WorkerProcesses
from po_jupyter.platform import processes
from po_jupyter.platform.concurrency import BackgroundTasks

log = structlog.get_logger(__name__)

_MOST = 4  # processes, and never more than processors
_MANY = 8  # runs in the least busy one, from which on another is started
_UNEVEN = 8  # runs that a process may have more than the least busy one
_UNEXPLAINED = 2  # ends of its process that a run may see without anybody's turn; then it goes on alone
_STUCK = 10.0  # s without a message while it is some run's turn, and the process works ...
_STUCK_CPU = 3.0  # s of CPU meanwhile: on a machine that is busy otherwise it waits for its own turn
_RENEW_RUNS = 20_000
_RENEW_AGE = 6 * 3600.0  # s
_RENEW_BYTES = 600 * 2**20
_LEAVE = 60.0  # s that a process which is renewed may keep its runs
_LOOK = 1.0  # s between looks at the processes

StartProcess = Callable[[Callable[[int, int | None], None]], Awaitable[processes.Identity]]


class SharedWorkers:
    """The processes of many runs of one supervisor. `alone` are runs that have to have a process of their own."""

    def __init__(
        self,
        settings: Settings,
        workers: WorkerProcesses,
        start: StartProcess,
        environment: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`start(on_exit)` starts a process, with the variables that `environment` gives then. None runs yet."""
        self._environment = environment
        self._settings = settings
        self._workers = workers
        self._start = start
        self._processes: list[SharedProcess] = []
        self._starting: asyncio.Task[SharedProcess] | None = None
        self._unexplained: Counter[str] = Counter()
        self._tasks = BackgroundTasks()
        self._closed = False
        self.alone: set[str] = set()
        self.hand_over: Callable[[WorkerHandle], None] = lambda worker: None  # the gateway's
        self._runtime = settings.data_dir / "runtime"
        self._log = settings.data_dir / "logs" / "shared-worker.log"

    # -- runs -----------------------------------------------------------------------------------

    async def take(self, run: str, expect: int | None, silence_limit: float) -> WorkerHandle:
        """Have a process work the run off. Raises SpawnFailed, VersionMismatch, InvalidInput when there is none."""
        self._retire_outdated()
        process = self._process_for(run)
        if process is None:
            process = await self._started()
        elif min(len(p.runs) for p in self._able()) >= _MANY and self._may_start():
            self._start_another()
        worker = WorkerHandle(run, process.identity, silence_limit, process=process, expect=expect)
        self._workers.add(worker)
        process.taken += 1
        if process.ended.is_set():  # between its start and here: nobody else looks after this run
            self.alone.add(run)
            self._workers.exited(worker, ExitStatus.ORDERLY)
        elif process.channel is not None:
            self.hand_over(worker)
        return worker

    def _retire_outdated(self) -> None:
        """A process keeps the variables that it was started with (where models are asked is among them): once those of
        this server are others, runs go to another one."""
        environment = self._environment()
        for process in self._processes:
            if process.ours and not process.retiring and process.environment != environment:
                self._renew(process, "the environment changed")

    def forget(self, run: str) -> None:
        """The run has ended."""
        self.alone.discard(run)
        self._unexplained.pop(run, None)

    def has_left(self, run: str, holder: processes.Identity | None) -> bool:
        """Whether the holder is a process of ours that lives and does not have the run, as it said itself: that of an
        earlier server is known before it has named its runs."""
        process = self._find(holder["pid"]) if holder is not None and holder.get("shared") else None
        if process is None or process.reported is None:
            return False
        return run not in process.runs and run not in process.reported

    async def warm_up(self) -> None:
        """Have a process ready. Raises SpawnFailed, VersionMismatch."""
        await asyncio.to_thread(self._remove_turn_files)
        if self._settings.shared_worker and not self._able():
            await self._started()

    def _remove_turn_files(self) -> None:
        """Remove those of processes that ended while no orchestrator was there."""
        for path in self._runtime.glob("turns-*"):
            pid = path.name.rpartition("-")[2]
            if not pid.isdecimal() or not psutil.pid_exists(int(pid)):
                path.unlink(missing_ok=True)

    def _able(self) -> list[SharedProcess]:
        return [p for p in self._processes if not p.retiring and len(p.runs) < SLOTS]

    def _process_for(self, run: str) -> SharedProcess | None:
        """One that is about as little busy as any. Runs of one shard of the store go to one process, where their
        commits share transactions; two would wait for each other."""
        able = self._able()
        if not able:
            return None
        preferred = able[zlib.crc32(run.encode()) % self._settings.store_shards % len(able)]
        least_busy = min(able, key=lambda process: len(process.runs))
        return preferred if len(preferred.runs) <= len(least_busy.runs) + _UNEVEN else least_busy

    def _find(self, pid: int) -> SharedProcess | None:
        return next((p for p in self._processes if p.pid == pid and not p.ended.is_set()), None)

    # -- starting -------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        able = sum(not p.retiring for p in self._processes)
        return self._starting is None and able < min(_MOST, os.cpu_count() or 1)

    def _start_another(self) -> None:
        async def start() -> None:
            with suppress(PoError):  # the others do
                await self._started()

        self._tasks.start(start(), "another shared worker")

    async def _started(self) -> SharedProcess:
        if self._starting is None:
            # A task of its own: whoever asked first may be cancelled while others wait for the same.
            self._starting = asyncio.create_task(self._start_one(), name="shared worker")
            self._starting.add_done_callback(self._start_ended)
        return await asyncio.shield(self._starting)

    def _start_ended(self, task: asyncio.Task[SharedProcess]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    async def _start_one(self) -> SharedProcess:
        if self._closed:
            raise SpawnFailed("the orchestrator is stopping")
        early: list[int | None] = []  # the exit, when it came before we knew the process
        process: SharedProcess | None = None

        def on_exit(pid: int, status: int | None) -> None:
            if process is None:
                early.append(status)
            else:
                self._exited(process, status)

        environment = self._environment()
        identity = await self._start(on_exit)
        turns = turn_file_of(self._runtime, identity["pid"])
        process = SharedProcess(identity, turns, self._log, environment=environment)
        self._processes.append(process)
        log.info("shared worker started", pid=process.pid)
        if early:
            self._exited(process, early[0])
        return process

    # -- connections ----------------------------------------------------------------------------

    def connected(self, hello: SharedHello, channel: Channel) -> SharedProcess | None:
        """Take the connection of a process; None for one that has no business here any more."""
        process = self._find(hello.pid)
        if process is None:
            identity: processes.Identity = {**processes.identity_of(hello.pid), "created": hello.created}
            if not processes.alive(identity):
                return None
            process = self._adopt(identity)
        process.channel = channel
        process.last_message = time.monotonic()
        unsent = [] if process.connected else list(process.runs.values())
        if process.connected:
            self._drop_missing(process, hello.runs)
        process.connected = True
        process.reported = set(hello.runs)
        for worker in unsent:
            if worker.run not in hello.runs:
                self.hand_over(worker)
        self._end_when_empty(process)
        return process

    def disconnected(self, process: SharedProcess, channel: Channel) -> None:
        """The connection ended."""
        if process.channel is channel:
            process.channel = None

    def left(self, worker: WorkerHandle, status: int) -> None:
        """The process works on the run no more."""
        process = worker.process
        assert process is not None
        if status == ExitStatus.NEEDS_OWN_PROCESS:
            self.alone.add(worker.run)
        self._workers.exited(worker, status)
        self._end_when_empty(process)

    def adopt(self, run: str, holder: processes.Identity) -> WorkerHandle:
        """Look after a run that a process of an earlier orchestrator works on."""
        process = self._find(holder["pid"]) or self._adopt(
            {"pid": holder["pid"], "created": holder["created"], "boot": holder["boot"], "host": holder["host"]}
        )
        worker = WorkerHandle(run, process.identity, math.inf, ours=False, process=process)
        self._workers.add(worker)
        return worker

    def _adopt(self, identity: processes.Identity) -> SharedProcess:
        process = SharedProcess(
            identity, turn_file_of(self._runtime, identity["pid"]), self._log, ours=False, connected=True,
            retiring=True,
        )  # fmt: skip
        self._processes.append(process)
        self._watch(process)
        return process

    def _drop_missing(self, process: SharedProcess, runs: list[str]) -> None:
        """Let go of runs that the process gave back while nobody heard it."""
        for run in set(process.runs) - set(runs):
            self._workers.exited(process.runs[run], ExitStatus.ORDERLY)

    # -- ends -----------------------------------------------------------------------------------

    def _watch(self, process: SharedProcess) -> None:
        async def watch() -> None:
            await processes.wait_for_exit(process.identity)
            self._exited(process, None)

        self._tasks.start(watch(), f"watch {process.pid}")

    def _exited(self, process: SharedProcess, status: int | None) -> None:
        if process.ended.is_set():
            return
        if status is None and processes.alive(process.identity):
            self._watch(process)  # its zygote ended, not the process
            return
        process.ended.set()
        self._processes.remove(process)
        workers = list(process.runs.values())
        suspects = read_turns(process.turns).suspects if status != ExitStatus.ORDERLY else frozenset()
        suspects &= process.runs.keys()
        if len(workers) == 1:
            suspects = frozenset(process.runs)  # nobody else can have done it
        with suppress(OSError):
            process.turns.unlink()
        if workers:
            log.error(
                "a shared worker ended",
                pid=process.pid,
                status=status,
                runs=len(workers),
                suspects=sorted(suspects),
            )
        for worker in workers:
            self._end_of(worker, process, status, suspects)

    def _end_of(
        self, worker: WorkerHandle, process: SharedProcess, status: int | None, suspects: frozenset[str]
    ) -> None:
        run = worker.run
        worker.end_reason = process.end_reason
        if not process.connected:
            self.alone.add(run)  # it never had the run: there is nothing to record
            self._workers.exited(worker, ExitStatus.ORDERLY)
            return
        if run in suspects:
            self.alone.add(run)
        elif not suspects and status != ExitStatus.ORDERLY:
            self._unexplained[run] += 1
            if self._unexplained[run] >= _UNEXPLAINED:
                self.alone.add(run)
        worker.bystander = run not in suspects
        self._workers.exited(worker, status)

    def _end_when_empty(self, process: SharedProcess) -> None:
        if process.retiring and not process.runs and process.channel is not None:
            process.channel.send(DrainWorker())

    # -- watching -------------------------------------------------------------------------------

    async def watch(self) -> None:
        """End processes that stand still, renew those that worked for long. Runs until cancelled.

        Time passes here in short steps that count for at most twice their length: a suspended laptop adds nothing.
        """
        silent: dict[int, float] = {}
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK)
            passed = min(time.monotonic() - before, 2 * _LOOK)
            for process in list(self._processes):
                if process.last_message < before and process.runs:
                    silent.setdefault(process.pid, 0.0)
                    silent[process.pid] += passed
                else:
                    silent.pop(process.pid, None)
                    process.cpu_before = _cpu_of(process.pid)
                self._check(process, silent.get(process.pid, 0.0))

    def _check(self, process: SharedProcess, silent: float) -> None:
        if silent > max(_STUCK, 5 * self._settings.heartbeat) and self._is_stuck(process, silent):
            self._kill(process, "stuck")
        elif silent > max((worker.silence_limit for worker in process.runs.values()), default=math.inf):
            self._kill(process, "silence")
        if not process.retiring and self._is_worn(process):
            self._renew(process, "it worked for long")

    def _renew(self, process: SharedProcess, reason: str) -> None:
        process.retiring = True
        log.info("shared worker is renewed", pid=process.pid, runs=process.taken, why=reason)
        self._tasks.start(self._retire(process), f"renew {process.pid}")

    def _is_stuck(self, process: SharedProcess, silent: float) -> bool:
        """Whether it works for one run only. One that was stopped from outside does not work at all."""
        try:
            status = psutil.Process(process.pid).status()
        except psutil.Error:
            return False
        if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
            return False
        if _cpu_of(process.pid) - process.cpu_before < _STUCK_CPU and silent < self._settings.silence_grace:
            return False
        return bool(read_turns(process.turns).suspects)

    def _kill(self, process: SharedProcess, reason: str) -> None:
        log.warning("ending a shared worker", pid=process.pid, why=reason, runs=len(process.runs))
        process.end_reason = reason
        processes.end_group(process.identity)

    def _is_worn(self, process: SharedProcess) -> bool:
        if process.taken >= _RENEW_RUNS or time.monotonic() - process.since > _RENEW_AGE:
            return True
        try:
            return bool(psutil.Process(process.pid).memory_info().rss > _RENEW_BYTES)
        except psutil.Error:
            return False

    async def _retire(self, process: SharedProcess) -> None:
        self._end_when_empty(process)
        if not self._able():
            self._start_another()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await process.ended.wait()
        if process.channel is not None:
            process.channel.send(DrainWorker())

    def drain(self) -> None:
        """Have every process give its runs back and end; none is started any more."""
        self._closed = True
        for process in self._processes:
            if process.channel is not None:
                process.channel.send(DrainWorker())

    async def close(self) -> None:
        """Watch no more. Ends no process."""
        self._closed = True
        await self._tasks.cancel()


def _cpu_of(pid: int) -> float:
    """Seconds of CPU that a process used."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:2])
    except psutil.Error:
        return 0.0
