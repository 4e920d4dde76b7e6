"""The wire between the orchestrator and its workers: JSON lines over a Unix socket of this user's own.

    worker → orchestrator   hello {run, pid, created, fence}   beat   committed {n, offset, state}   text {...}
                            need {id, what, model}   rest {on}   bye {state}
                            failed {message, hint} (of the store)   rate.… (see `rate_limits`)
    orchestrator → worker   welcome {watched, rates}   beat   look   cancel   drain   stop   watched {on}
                            progress {id, text}   answer {id, ...}   rate.…
    another server          poke {run?}  →  ok {load}

Everything said here is a hint (P1): the store has the truth, and a line that is lost loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from po_jupyter.errors import StoreUnusable
from po_jupyter.model.values.digests import short_digest

Message = dict[str, Any]
# Exit statuses of a worker. Everything else (a signal, an exception) is a crash.
IN_ORDER = 0
OVERTAKEN = 70  # somebody else has the run now
STORE_FAILED = 74  # the store could not be read or written: not the run's fault
LIMIT = 1 << 20  # bytes of one line
_NAME = "orchestrator.sock"
_MAX_PATH = 90  # sun_path holds 104 bytes on macOS and 108 on Linux


def address_of(data_dir: Path) -> Path:
    """Where the orchestrator of this data directory listens: in it, or, when that path is too long for a
    socket, in a directory of this user under the runtime or temporary directory."""
    path = data_dir / _NAME
    if len(os.fsencode(path)) < _MAX_PATH:
        return path
    digest = short_digest(os.fsencode(data_dir.resolve()), 16)
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > 50:
        base = "/tmp"  # noqa: S108 - the directory below is checked to be ours alone
    return Path(base) / f"po-jupyter-{os.getuid()}" / f"{digest}.sock"


def prepare(address: Path) -> None:
    """Make the socket's directory, for this user only. Raises StoreUnusable when somebody else's is there."""
    folder = address.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise StoreUnusable(f"{folder} belongs to somebody else; the orchestrator's socket cannot be there")
    if info.st_mode & 0o077:
        folder.chmod(0o700)


class Channel:
    """One connection. `send` never blocks and never raises: a peer that is gone hears nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, op: str, **fields: Any) -> None:
        """Queue one message."""
        if self._writer.is_closing() or self._writer.transport.get_write_buffer_size() > 8 * LIMIT:
            return
        self._writer.write(json.dumps({"op": op, **fields}, separators=(",", ":")).encode() + b"\n")

    async def receive(self) -> Message | None:
        """The next message, or None at the end. A line that is no message ends the connection."""
        try:
            line = await self._reader.readline()
            message = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, OSError, asyncio.LimitOverrunError):
            return None
        return message if isinstance(message, dict) and isinstance(message.get("op"), str) else None

    async def drain(self) -> None:
        """Wait until what was sent has left this process."""
        with suppress(OSError):
            await self._writer.drain()

    def peer(self) -> tuple[int, int] | None:
        """(pid, uid) of the other end as the kernel knows them, or None where it does not say."""
        sock = self._writer.get_extra_info("socket")
        if sock is None or not hasattr(socket, "SO_PEERCRED"):
            return None
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()


async def connect(address: Path) -> Channel:
    """A connection to whoever listens. Raises OSError when nobody does."""
    reader, writer = await asyncio.open_unix_connection(str(address), limit=LIMIT)
    return Channel(reader, writer)


async def poke(address: Path, run: str | None, patience: float = 2.0) -> Message | None:
    """Ask the orchestrator that holds the store to look at a run, and what it has to do (`Supervisor.load`);
    None when nobody answered."""
    try:
        async with asyncio.timeout(patience):
            channel = await connect(address)
            try:
                channel.send("poke", run=run)
                return await channel.receive()
            finally:
                await channel.close()
    except (OSError, TimeoutError):
        return None


class Listener:
    """The orchestrator's end. `serve(channel, first)` is called for each connection with its first message."""

    def __init__(self, address: Path, serve: Callable[[Channel, Message], Awaitable[None]]) -> None:
        self.address = address
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[Any], Channel] = {}

    async def start(self) -> None:
        """Bind. A socket file that another one left is replaced in one step, so that a worker that looks for
        the path always finds somebody's."""
        prepare(self.address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place = self.address.with_suffix(f".{os.getpid()}")
        with suppress(FileNotFoundError):
            place.unlink()
        try:
            sock.bind(str(place))
            place.chmod(0o600)
            sock.listen(512)
            sock.setblocking(False)
            os.replace(place, self.address)
        except OSError:
            sock.close()
            raise
        self._inode = self.address.stat().st_ino
        self._server = await asyncio.start_unix_server(self._accept, sock=sock, limit=LIMIT)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = channel
        try:
            peer = channel.peer()
            if peer is not None and peer[1] != os.getuid():
                return
            async with asyncio.timeout(10):
                first = await channel.receive()
            if first is not None:
                await self._serve(channel, first)
        except (TimeoutError, asyncio.CancelledError):
            pass  # the connection's own task: to be cancelled is to hang up
        finally:
            self._open.pop(task, None)
            writer.close()

    async def close(self) -> None:
        """Hang up on everybody and remove the socket, unless somebody else has bound the path meanwhile."""
        server, self._server = self._server, None  # a lost lease and a stop may come at the same time
        if server is None:
            return
        server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        with suppress(OSError):
            if self.address.stat().st_ino == self._inode:
                self.address.unlink()
