"""The orchestrator's side of its zygotes: one per interpreter, started when first needed."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.errors import InvalidInput, SpawnFailed, VersionMismatch
from po_jupyter.ipc.channel import LIMIT, Channel
from po_jupyter.model.values.digests import short_digest
from po_jupyter.orchestrator.environment.variables import preload_environment
from po_jupyter.platform import processes
from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.worker import zygote

log = structlog.get_logger(__name__)

_START_TIMEOUT = 60.0  # s; a cold import of everything from a slow disk
_LOG_MAX = 1_000_000  # bytes; what it says are errors of its start
_SPAWN_TIMEOUT = 15.0  # s; a fork takes milliseconds, a machine that swaps takes seconds
Exited = Callable[[int, int | None], None]


class ZygoteProcess:
    """One running zygote. `on_exit(pid, status)` is called for each of its workers that ends; the status is
    None when the zygote itself ended first, and then the worker may still live."""

    def __init__(self, interpreter: str, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.interpreter = interpreter
        self.hello: dict[str, Any] = {}
        self._process = process
        self._channel = channel
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._children: dict[int, Exited] = {}
        self._callers: dict[int, Exited] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the zygote."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Does it still answer?"""
        return self._reader is not None and not self._reader.done()

    async def spawn(self, request: dict[str, Any], on_exit: Exited) -> processes.Identity:
        """Fork a worker. Raises SpawnFailed."""
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._callers[number] = on_exit
        try:
            if not self.alive:
                raise SpawnFailed(f"the process that starts workers for {self.interpreter} ended")
            self._channel.send("spawn", id=number, request=request)
            async with asyncio.timeout(_SPAWN_TIMEOUT):
                message = await answer
        except TimeoutError:
            raise SpawnFailed(
                f"{self.interpreter} did not start a worker within {_SPAWN_TIMEOUT:.0f} s"
            ) from None
        finally:
            self._waiting.pop(number, None)
            self._callers.pop(number, None)
        if message["op"] == "failed":
            raise SpawnFailed(f"a worker could not be started: {message['error']}")
        return {**processes.identity_of(message["pid"]), "created": message["created"]}

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            op = message["op"]
            if op == "exited":
                on_exit = self._children.pop(message["pid"], None)
                if on_exit is not None:
                    on_exit(message["pid"], message["status"])
            elif op in ("spawned", "failed"):
                if op == "spawned" and message["id"] in self._callers:
                    # Registered here and not after `spawn` woke up: a worker can end faster than that.
                    self._children[message["pid"]] = self._callers[message["id"]]
                waiting = self._waiting.get(message["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result({"op": "failed", "error": "the zygote ended"})
        children, self._children = self._children, {}
        for pid, on_exit in children.items():
            on_exit(pid, None)

    async def close(self) -> None:
        """Hang up; the zygote exits by itself, its workers go on."""
        children, self._children = self._children, {}
        children.clear()
        await self._channel.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def start(interpreter: str, logs: Path, closed: asyncio.Event) -> ZygoteProcess:
    """A zygote of that interpreter, ready; given up when `closed` is set. Raises VersionMismatch, SpawnFailed.

    To be given up is not to be cancelled: a process that is just being made could not be ended then.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    path = logs / f"zygote-{short_digest(interpreter, 8)}.log"
    errors, said_before = await asyncio.to_thread(_open_log, path)
    env = preload_environment()
    if interpreter == sys.executable:
        # Our own interpreter finds our own package, also when it was not installed but stands on the path.
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, env.get("PYTHONPATH")]))
    try:
        process = await asyncio.create_subprocess_exec(
            interpreter, "-P", "-m", "po_jupyter.worker.zygote", str(theirs.fileno()),
            pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, stdout=errors, stderr=errors,
            env=env, cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        ours.close()
        raise SpawnFailed(f"{interpreter} cannot be started: {error.strerror}") from None
    finally:
        os.close(errors)
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
    found = ZygoteProcess(interpreter, process, Channel(reader, writer))
    receiving = asyncio.create_task(found._channel.receive())
    closing = asyncio.create_task(closed.wait())
    await asyncio.wait({receiving, closing}, timeout=_START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    hello = receiving.result() if receiving.done() else None
    receiving.cancel()
    closing.cancel()
    if hello is None or closed.is_set():  # it ended, hangs, or nobody wants it any more
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await found._channel.close()
    if closed.is_set():
        raise SpawnFailed("the orchestrator is stopping")
    if hello is None:
        raise _did_not_start(interpreter, await asyncio.to_thread(_read_from, path, said_before))
    found.hello = hello
    if hello.get("version") != zygote.version() or hello.get("protocol") != zygote.PROTOCOL:
        await found.close()
        raise VersionMismatch(
            f"{interpreter} has po_jupyter {hello.get('version')}, this orchestrator is {zygote.version()}",
            hint=f"{interpreter} -m pip install po_jupyter=={zygote.version()}",
            details={"interpreter": interpreter, "theirs": hello.get("version"), "ours": zygote.version()},
        )
    found._reader = asyncio.create_task(found._read(), name=f"zygote {process.pid}")
    log.info("zygote ready", interpreter=interpreter, pid=process.pid, python=hello.get("python"))
    return found


def _open_log(path: Path) -> tuple[int, int]:
    """The log, to append to, and where its end is now."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_MAX:
        path.replace(path.with_name(path.name + ".1"))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return fd, os.fstat(fd).st_size


def _read_from(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(100_000).decode("utf-8", "replace")


def _did_not_start(interpreter: str, output: str) -> Exception:
    if "No module named" in output and "po_jupyter" in output:
        return VersionMismatch(
            f"{interpreter} has no po_jupyter; a run there needs the same version as here, {zygote.version()}",
            hint=f"{interpreter} -m pip install po_jupyter=={zygote.version()}",
            details={"interpreter": interpreter, "theirs": None, "ours": zygote.version()},
        )
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    return SpawnFailed(f"workers cannot be started with {interpreter}: {last[0]}")


class Zygotes:
    """The zygotes of one orchestrator, by interpreter."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._found: dict[str, ZygoteProcess] = {}
        self._starting: dict[str, asyncio.Task[ZygoteProcess]] = {}
        self._closed = asyncio.Event()

    async def get(self, interpreter: str | None) -> ZygoteProcess:
        """The zygote of that interpreter (None: our own), started when there is none.

        Raises InvalidInput when there is no such program, VersionMismatch, SpawnFailed.
        """
        path = interpreter or sys.executable
        known = self._found.get(path)
        if known is not None and known.alive:
            return known
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

    async def _start(self, path: str) -> ZygoteProcess:
        former = self._found.pop(path, None)
        if former is not None:
            await former.close()
        found = self._found[path] = await start(path, self._logs, self._closed)
        return found

    def _started(self, path: str, task: asyncio.Task[ZygoteProcess]) -> None:
        del self._starting[path]
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    def pids(self) -> list[int]:
        """Of the zygotes that live."""
        return [z.pid for z in self._found.values() if z.alive]

    async def close(self) -> None:
        """End them all; workers go on."""
        self._closed.set()
        starting = list(self._starting.values())
        await asyncio.gather(*starting, return_exceptions=True)
        found, self._found = list(self._found.values()), {}
        await asyncio.gather(*(z.close() for z in found))
