"""What starts the workers of an orchestrator: one for each interpreter, made when first needed. Here it is a zygote, a
process that forks them; `spawned_workers` has the other kind."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from po_jupyter.errors import InvalidInput, PoError, SpawnFailed, VersionMismatch
from po_jupyter.ipc.channel import LIMIT, Channel
from po_jupyter.ipc.messages import (
    FROM_ZYGOTE,
    ForkFailed,
    Spawn,
    WorkerExited,
    WorkerRequest,
    WorkerSpawned,
    ZygoteHello,
)
from po_jupyter.model.values.digests import short_digest
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.platform import private_file, processes
from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.worker.zygote import PROTOCOL, version

log = structlog.get_logger(__name__)

MODULE = "po_jupyter.worker.zygote"
FORMER_MODULE = "po_jupyter.orchestrator.zygote"  # of version 0.1.0 and before: asked only for its version
_START_TIMEOUT = 60.0  # s; a cold import of everything from a slow disk
_LOG_MAX = 1_000_000  # bytes; what it says are errors of its start
_SPAWN_TIMEOUT = 15.0  # s; a fork takes milliseconds, a machine that swaps takes seconds
_CLOSE_TIMEOUT = 2.0  # s until a zygote that does not exit by itself is killed

OnExit = Callable[[int, int | None], None]  # (pid, status)


class WorkerSource(Protocol):
    """What starts the workers of one interpreter. `pid` is of the process that is ready for that."""

    @property
    def hello(self) -> ZygoteHello:
        """The greeting of its process."""

    @property
    def pid(self) -> int | None:
        """The id of its process; None while there is none."""

    @property
    def alive(self) -> bool:
        """Can it start workers?"""

    async def spawn(self, request: WorkerRequest, on_exit: OnExit) -> processes.Identity:
        """Start a worker; `on_exit` is called when it ends. Raises SpawnFailed."""

    async def close(self) -> None:
        """Start no more; workers go on, and `on_exit` is called no more."""


Start = Callable[[str, Path, asyncio.Event], Awaitable[WorkerSource]]  # (interpreter, logs, closed)


class ZygoteProcess:
    """One running zygote. `on_exit(pid, status)` is called for each of its workers that ends; the status is
    None when the zygote itself ended first, and then the worker may still live."""

    def __init__(
        self, interpreter: str, process: asyncio.subprocess.Process, channel: Channel, hello: ZygoteHello
    ) -> None:
        """A zygote after its `hello`. Needs a running loop."""
        self.interpreter = interpreter
        self._hello = hello
        self._process = process
        self._channel = channel
        self._ids = itertools.count(1)
        self._spawning: dict[int, tuple[asyncio.Future[WorkerSpawned | ForkFailed], OnExit]] = {}
        self._children: dict[int, OnExit] = {}
        self._reader = asyncio.create_task(self._read(), name=f"zygote {process.pid}")

    @property
    def hello(self) -> ZygoteHello:
        """Its greeting."""
        return self._hello

    @property
    def pid(self) -> int:
        """The id of the zygote's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Does it still answer?"""
        return not self._reader.done()

    async def spawn(self, request: WorkerRequest, on_exit: OnExit) -> processes.Identity:
        """Fork a worker. Raises SpawnFailed."""
        number = next(self._ids)
        answer: asyncio.Future[WorkerSpawned | ForkFailed] = asyncio.get_running_loop().create_future()
        self._spawning[number] = answer, on_exit
        try:
            if not self.alive:
                raise SpawnFailed(f"the process that starts workers for {self.interpreter} ended")
            self._channel.send(Spawn(number, request.to_json()))
            async with asyncio.timeout(_SPAWN_TIMEOUT):
                message = await answer
        except TimeoutError:
            raise SpawnFailed(
                f"{self.interpreter} did not start a worker within {_SPAWN_TIMEOUT:.0f} s"
            ) from None
        finally:
            del self._spawning[number]
        if isinstance(message, ForkFailed):
            raise SpawnFailed(f"a worker could not be started: {message.error}")
        return {**processes.identity_of(message.pid), "created": message.created}

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, WorkerExited):
                on_exit = self._children.pop(message.pid, None)
                if on_exit is not None:
                    on_exit(message.pid, message.status)
            elif isinstance(message, WorkerSpawned | ForkFailed):
                self._answer(message)
        for number, (answer, _) in self._spawning.items():
            if not answer.done():
                answer.set_result(ForkFailed(number, "the zygote ended"))
        children, self._children = self._children, {}
        for pid, on_exit in children.items():
            on_exit(pid, None)

    def _answer(self, message: WorkerSpawned | ForkFailed) -> None:
        if message.id not in self._spawning:
            return
        answer, on_exit = self._spawning[message.id]
        if isinstance(message, WorkerSpawned):
            # Registered here and not after `spawn` woke up: a worker can end faster than that.
            self._children[message.pid] = on_exit
        if not answer.done():
            answer.set_result(message)

    async def close(self) -> None:
        """End the connection; the zygote exits by itself, its workers go on, and `on_exit` is called no more."""
        self._children = {}
        await self._channel.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await _end(self._process, _CLOSE_TIMEOUT)


async def start_zygote(interpreter: str, logs: Path, closed: asyncio.Event) -> ZygoteProcess:
    """Start a zygote of that interpreter; given up when `closed` is set. Raises VersionMismatch, SpawnFailed.

    To be given up is not to be cancelled: a process that is just being made could not be ended then.
    """
    log_path = log_of(interpreter, logs)
    start = await _launch(interpreter, MODULE, log_path, closed)
    if isinstance(start, str) and re.search(r"No module named '?po_jupyter\.", start):
        # There is a po_jupyter without this module: an older one, which can say its version under the former name.
        start = await _launch(interpreter, FORMER_MODULE, log_path, closed)
    if isinstance(start, str):
        raise start_error(interpreter, start)
    process, channel, hello = start
    try:
        check_version(interpreter, hello)
    except VersionMismatch:
        await channel.close()
        await _end(process, _CLOSE_TIMEOUT)
        raise
    log.info("zygote ready", interpreter=interpreter, pid=process.pid, python=hello.python)
    return ZygoteProcess(interpreter, process, channel, hello)


async def _launch(
    interpreter: str, module: str, log_path: Path, closed: asyncio.Event
) -> tuple[asyncio.subprocess.Process, Channel, ZygoteHello] | str:
    """The zygote after its hello, or its standard error when it ended without one. Raises SpawnFailed
    when it cannot be started, or `closed` is set."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    errors, log_end = await asyncio.to_thread(open_log, log_path)
    try:
        process = await asyncio.create_subprocess_exec(
            interpreter, "-P", "-m", module, str(theirs.fileno()),
            pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, stdout=errors, stderr=errors,
            env=start_environment(interpreter), cwd=processes.ROOT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        ours.close()
        raise SpawnFailed(f"{interpreter} cannot be started: {error.strerror}") from None
    finally:
        os.close(errors)
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
    channel = Channel(reader, writer, FROM_ZYGOTE)
    receiving = asyncio.create_task(channel.receive())
    closing = asyncio.create_task(closed.wait())
    await asyncio.wait({receiving, closing}, timeout=_START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    hello = receiving.result() if receiving.done() else None
    receiving.cancel()
    closing.cancel()
    if isinstance(hello, ZygoteHello) and not closed.is_set():
        return process, channel, hello
    await _end(process, 0.0)  # it ended, hangs, or is not needed any more
    await channel.close()
    if closed.is_set():
        raise SpawnFailed("the orchestrator is stopping")
    return await asyncio.to_thread(read_from, log_path, log_end)


async def _end(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Wait for the process to exit, and kill it after so many seconds."""
    if seconds:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await process.wait()
                return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def start_environment(interpreter: str) -> dict[str, str]:
    """The variables that a process which becomes a worker, or forks some, is started with."""
    env = worker_environment()
    if interpreter == sys.executable:
        # Our own interpreter finds our own package, also when it was not installed but stands on the path.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, env.get("PYTHONPATH")]))
    return env


def log_of(interpreter: str, logs: Path) -> Path:
    """The file for what goes wrong while processes of that interpreter start."""
    return logs / f"zygote-{short_digest(interpreter, 8)}.log"


def open_log(path: Path) -> tuple[int, int]:
    """The log, to append to, and where its end is now."""
    path.parent.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_MAX:
        path.replace(path.with_name(path.name + ".1"))
    fd = private_file.open_log(path)
    return fd, os.fstat(fd).st_size


def read_from(path: Path, start: int) -> str:
    """What was written to the log from there on."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(100_000).decode("utf-8", "replace")


def is_other(output: str) -> bool:
    """Whether an interpreter ended, with that on its standard error, because its po_jupyter is another one, or none."""
    return re.search(r"No module named '?po_jupyter\b", output) is not None


def start_error(interpreter: str, output: str, theirs: str | None = None) -> PoError:
    """The error of an interpreter that ended with that on its standard error; `theirs` is its po_jupyter's version."""
    if theirs is not None:
        return _other_version(interpreter, theirs)
    if re.search(r"No module named '?po_jupyter\.", output):
        sentence = "has an incomplete or very old po_jupyter; a run there needs the same version as here,"
        return _version_mismatch(interpreter, None, sentence)
    if is_other(output):
        sentence = "has no po_jupyter; a run there needs the same version as here,"
        return _version_mismatch(interpreter, None, sentence)
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    return SpawnFailed(f"workers cannot be started with {interpreter}: {last[0]}")


def check_version(interpreter: str, hello: ZygoteHello) -> None:
    """Raises VersionMismatch unless its po_jupyter is the same as here."""
    if hello.version != version() or hello.protocol != PROTOCOL:
        raise _other_version(interpreter, hello.version)


def _other_version(interpreter: str, theirs: str) -> VersionMismatch:
    return _version_mismatch(interpreter, theirs, f"has po_jupyter {theirs}, this orchestrator is")


def _version_mismatch(interpreter: str, theirs: str | None, sentence: str) -> VersionMismatch:
    return VersionMismatch(
        f"{interpreter} {sentence} {version()}",
        hint=f"{interpreter} -m pip install po_jupyter=={version()}",
        details={"interpreter": interpreter, "theirs": theirs, "ours": version()},
    )


class ZygotePool:
    """What starts the workers of one orchestrator, by interpreter: zygotes, unless `start` makes something else."""

    def __init__(self, logs: Path, start: Start = start_zygote) -> None:
        """Starts none yet; what they write on standard error goes to files in `logs`."""
        self._logs = logs
        self._start_source = start
        self._running: dict[str, WorkerSource] = {}
        self._starting: dict[str, asyncio.Task[WorkerSource]] = {}
        self._closed = asyncio.Event()

    async def get(self, interpreter: str | None) -> WorkerSource:
        """The zygote of that interpreter (None: our own), started when there is none.

        Raises InvalidInput when there is no such program, VersionMismatch, SpawnFailed.
        """
        path = interpreter or sys.executable
        running = self._running.get(path)
        if running is not None and running.alive:
            return running
        if self._closed.is_set():
            raise SpawnFailed("the orchestrator is stopping")
        if not (os.path.isabs(path) and os.access(path, os.X_OK)):
            raise InvalidInput(
                f"there is no Python interpreter at {path}", hint="Give an absolute path, as in sys.executable."
            )
        starting = self._starting.get(path)
        if starting is None:
            # A task of its own: whoever asked first may be cancelled while others wait for the same.
            starting = self._starting[path] = asyncio.create_task(self._start(path), name=f"zygote {path}")
            starting.add_done_callback(lambda task: self._started(path, task))
        return await asyncio.shield(starting)

    async def _start(self, path: str) -> WorkerSource:
        former = self._running.pop(path, None)
        if former is not None:
            await former.close()
        zygote = self._running[path] = await self._start_source(path, self._logs, self._closed)
        return zygote

    def _started(self, path: str, task: asyncio.Task[WorkerSource]) -> None:
        del self._starting[path]
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    def pids(self) -> list[int]:
        """The process ids of the zygotes that live."""
        return [source.pid for source in self._running.values() if source.alive and source.pid]

    async def close(self) -> None:
        """End them all; workers go on."""
        self._closed.set()
        starting = list(self._starting.values())
        await asyncio.gather(*starting, return_exceptions=True)
        running, self._running = list(self._running.values()), {}
        await asyncio.gather(*(zygote.close() for zygote in running))
