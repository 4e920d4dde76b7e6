"""Workers that are started by spawn, where a fork is missing or unsafe: a fresh process of an interpreter for each.

A fresh process takes half a second until it has imported everything. So one more than is needed is kept ready: it
waits for its request on a pipe, becomes the worker of the next run, and is replaced after that.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, SpawnFailed
from po_jupyter.ipc.channel import LIMIT, address_of, worker_credential
from po_jupyter.ipc.messages import FROM_ZYGOTE, WorkerRequest, ZygoteHello
from po_jupyter.orchestrator.workers import zygote_pool
from po_jupyter.orchestrator.workers.zygote_pool import OnExit
from po_jupyter.platform import processes

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

MODULE = "po_jupyter.worker.spawned"
_START_TIMEOUT = 60.0  # s; a cold import of everything from a slow disk
_REPLACE_AFTER = 0.5  # s; the run that took the last one has the processor first
_AT_ONCE = max(2, os.cpu_count() or 1)  # processes of one interpreter that import at the same time


class SpawnedProcess:
    """One process of an interpreter: it imports, waits for its request, works it off. A thread looks after it.

    `ready` is its greeting, None when it ended without one; `gone` its exit status.
    """

    def __init__(self, interpreter: str, log_path: Path) -> None:
        """Starts it. Needs a running loop."""
        self._interpreter = interpreter
        self._log_path = log_path
        self._loop = asyncio.get_running_loop()
        self._process: Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._unwanted = False
        self.log_end = 0  # bytes of the log before it
        self.ready: asyncio.Future[ZygoteHello | None] = self._loop.create_future()
        self.gone: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._look_after, name=f"worker of {interpreter}", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The id of the process, once there is one."""
        return self._process.pid if self._process is not None else None

    async def send(self, request: WorkerRequest) -> processes.Identity:
        """Give it its run: it is that run's worker from now on. Raises SpawnFailed."""
        assert self._process is not None
        identity = processes.identity_of(self._process.pid)
        try:
            await asyncio.to_thread(self._write, json.dumps(request.to_json()).encode() + b"\n")
        except BaseException:
            self.kill()
            raise
        return identity

    def kill(self) -> None:
        """End it, also when it is just being started."""
        with self._lock:
            self._unwanted = True
            if self._process is not None and not self.gone.done():
                self._process.kill()

    def _write(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                pipe.write(line)
        except (OSError, ValueError) as error:  # ValueError: it ended, and the pipe is closed
            raise SpawnFailed(f"a worker could not be started: {error}") from None

    # -- in its thread --------------------------------------------------------------------------

    def _look_after(self) -> None:
        try:
            hello = self._start()
        except OSError as error:
            self._report(self._failed, error.strerror or str(error))
            return
        process = self._process
        assert process is not None and process.stdin is not None
        self._report(self.ready.set_result, hello)
        status = processes.wait_with_leftovers(process)
        with suppress(OSError):
            process.stdin.close()
        self._report(self.gone.set_result, status)

    def _start(self) -> ZygoteHello | None:
        """The greeting of a new process; None when it ended, or was ended, without one. Raises OSError."""
        errors, self.log_end = zygote_pool.open_log(self._log_path)
        try:
            with self._lock:
                if self._unwanted:
                    raise OSError("the orchestrator is stopping")
                self._process = process = processes.start_detached(
                    [self._interpreter, "-P", "-m", MODULE],
                    env=zygote_pool.start_environment(self._interpreter), errors=errors,
                )  # fmt: skip
        finally:
            os.close(errors)
        assert process.stdout is not None
        with process.stdout as pipe:
            line = pipe.readline(LIMIT)
        try:
            hello = FROM_ZYGOTE.decode(line)
        except ValueError:
            hello = None
        return hello if isinstance(hello, ZygoteHello) else None

    def _report(self, call: Callable[[_T], object], value: _T) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is interested any more
            self._loop.call_soon_threadsafe(call, value)

    def _failed(self, reason: str) -> None:
        self.ready.set_exception(SpawnFailed(f"{self._interpreter} cannot be started: {reason}"))
        self.ready.exception()  # seen, also when nobody waits
        self.gone.set_result(1)


class SpawnedWorkers:
    """The workers of one interpreter, for a pool: what a `ZygoteProcess` is where there are forks."""

    def __init__(self, interpreter: str, logs: Path, address: Path) -> None:
        """Starts none yet. `address` is where the orchestrator listens, also on TCP."""
        self.interpreter = interpreter
        self._log_path = zygote_pool.log_of(interpreter, logs)
        self._address = address
        self._hello: ZygoteHello | None = None
        self._spare: asyncio.Task[SpawnedProcess] | None = None
        self._idle: set[SpawnedProcess] = set()  # that have no run yet
        self._at_work: dict[SpawnedProcess, OnExit] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._replacing: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def hello(self) -> ZygoteHello:
        """The greeting of the last process that was started."""
        assert self._hello is not None
        return self._hello

    @property
    def pid(self) -> int | None:
        """The id of a process that waits for a run; None while there is none."""
        return next((process.pid for process in self._idle if process.pid is not None), None)

    @property
    def alive(self) -> bool:
        """Can it start workers? A process that died is replaced when it is needed."""
        return not self._closed

    async def prepare(self, closed: asyncio.Event) -> None:
        """Have a process ready; given up when `closed` is set. Raises VersionMismatch, SpawnFailed."""
        self._prepare_spare()
        assert self._spare is not None
        stopping = asyncio.create_task(closed.wait())
        await asyncio.wait({self._spare, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if closed.is_set():
            raise SpawnFailed("the orchestrator is stopping")
        self._spare.result()

    async def spawn(self, request: WorkerRequest, on_exit: OnExit) -> processes.Identity:
        """Start a worker. Raises SpawnFailed, VersionMismatch."""
        try:
            credential = await asyncio.to_thread(worker_credential, self._address, request.run)
        except OSError as error:
            raise SpawnFailed(f"a worker could not be started: {error.strerror}") from None
        request = replace(request, credential=credential.to_text())
        process = await self._take()
        try:
            identity = await process.send(request)
        except SpawnFailed:  # it died while it waited
            process = await self._take()
            identity = await process.send(request)
        self._at_work[process] = on_exit
        process.gone.add_done_callback(lambda gone: self._worker_ended(process, identity["pid"]))
        if self._replacing is None and self._spare is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._replacing = loop.call_later(_REPLACE_AFTER, self._prepare_spare)
        return identity

    async def _take(self) -> SpawnedProcess:
        """A process that waits for its request, for the caller alone. Raises SpawnFailed, VersionMismatch."""
        spare, self._spare = self._spare, None
        process = None
        if spare is not None:
            with suppress(PoError):  # it is tried again: what made it fail may be mended
                process = await spare
        if process is None or process.gone.done():
            process = await self._ready_process()
        self._idle.discard(process)
        if self._closed:
            process.kill()
            raise SpawnFailed("the orchestrator is stopping")
        return process

    def _prepare_spare(self) -> None:
        self._replacing = None
        if self._spare is None and not self._closed:
            self._spare = asyncio.create_task(self._ready_process(), name=f"spare of {self.interpreter}")
            self._spare.add_done_callback(self._spare_prepared)

    def _spare_prepared(self, spare: asyncio.Task[SpawnedProcess]) -> None:
        if not spare.cancelled() and (error := spare.exception()) is not None and not self._closed:
            # The next run tries again, and says so if it fails.
            log.warning("no process is ready for a run", interpreter=self.interpreter, error=str(error))

    async def _ready_process(self) -> SpawnedProcess:
        """A new process that waits for its request. Raises SpawnFailed, VersionMismatch."""
        async with self._turns:
            if self._closed:
                raise SpawnFailed("the orchestrator is stopping")
            process = SpawnedProcess(self.interpreter, self._log_path)
            self._idle.add(process)
            process.gone.add_done_callback(lambda gone: self._idle.discard(process))
            try:
                async with asyncio.timeout(_START_TIMEOUT):
                    hello = await asyncio.shield(process.ready)
                if hello is None:
                    raise await self._start_error(process)
                zygote_pool.check_version(self.interpreter, hello)
                self._hello = hello
            except TimeoutError:
                process.kill()
                raise SpawnFailed(
                    f"{self.interpreter} did not start a worker within {_START_TIMEOUT:.0f} s"
                ) from None
            except BaseException:
                process.kill()
                raise
        return process

    async def _start_error(self, process: SpawnedProcess) -> PoError:
        if self._closed:
            return SpawnFailed("the orchestrator is stopping")
        output = await asyncio.to_thread(zygote_pool.read_from, self._log_path, process.log_end)
        version = (
            await asyncio.to_thread(_version_of, self.interpreter) if zygote_pool.is_other(output) else None
        )
        return zygote_pool.start_error(self.interpreter, output, version)

    def _worker_ended(self, process: SpawnedProcess, pid: int) -> None:
        on_exit = self._at_work.pop(process, None)
        if on_exit is not None:
            on_exit(pid, process.gone.result())

    async def close(self) -> None:
        """End what waits for a run; workers go on, and `on_exit` is called no more."""
        self._closed = True
        self._at_work = {}
        if self._replacing is not None:
            self._replacing.cancel()
        idle = list(self._idle)
        for process in idle:
            process.kill()
        await asyncio.gather(*(process.gone for process in idle))
        if self._spare is not None:
            await asyncio.gather(self._spare, return_exceptions=True)


def starter(address: Path) -> zygote_pool.Start:
    """What a pool starts in the place of zygotes; `address` is where the orchestrator listens."""

    async def start(interpreter: str, logs: Path, closed: asyncio.Event) -> SpawnedWorkers:
        workers = SpawnedWorkers(interpreter, logs, address)
        try:
            await workers.prepare(closed)
        except BaseException:
            await workers.close()
            raise
        log.info("workers are spawned", interpreter=interpreter, pid=workers.pid, python=workers.hello.python)
        return workers

    return start


def _version_of(interpreter: str) -> str | None:
    """The version of the po_jupyter of that interpreter, which has no program of ours; None when it does not say."""
    import subprocess

    code = "import po_jupyter; print(po_jupyter.__version__)"
    try:
        answer = subprocess.run(
            [interpreter, "-P", "-c", code],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True, cwd=processes.ROOT,
            env=zygote_pool.start_environment(interpreter),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", "replace").strip()[:40] or None


def is_spawn(setting: str | None) -> bool:
    """Whether workers are started by spawn: as the setting says, else where a fork is missing or unsafe."""
    if setting is None:
        return sys.platform in ("win32", "darwin")
    return setting == "spawn"


def worker_pool(settings: Settings) -> zygote_pool.ZygotePool:
    """The pool of what starts workers, as the settings want it."""
    logs = settings.data_dir / "logs"
    if is_spawn(settings.worker_start):
        return zygote_pool.ZygotePool(logs, starter(address_of(settings.data_dir)))
    return zygote_pool.ZygotePool(logs)
