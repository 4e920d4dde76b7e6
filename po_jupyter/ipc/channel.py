"""Channels: messages as JSON lines over a Unix socket of this user's own, and who listens at it.

The orchestrator that holds a data directory has the `Listener`; its workers and the other servers of that directory
`connect`. The messages are in `ipc.messages`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from po_jupyter.errors import StoreUnusable
from po_jupyter.ipc.messages import FROM_ORCHESTRATOR, TO_ORCHESTRATOR, Notify, NotifyReply
from po_jupyter.ipc.wire import IpcMessage, MalformedMessage, Vocabulary
from po_jupyter.model.values.digests import short_digest

LIMIT = 1 << 20  # bytes of one line
_NAME = "orchestrator.sock"
_MAX_PATH = 90  # bytes; sun_path holds 104 on macOS and 108 on Linux
_MAX_BACKLOG = 8 * LIMIT  # bytes that a peer has not read; beyond them it gets nothing more
_FIRST_MESSAGE = 10.0  # s that a new connection may take to say what it is
_NOTIFY_TIMEOUT = 2.0  # s that an orchestrator may take to answer a `notify`


def address_of(data_dir: Path) -> Path:
    """The socket of the orchestrator of this data directory: in it, or, when that path is too long for a socket, in
    a directory of this user under the runtime or temporary directory."""
    path = data_dir / _NAME
    if len(os.fsencode(path)) < _MAX_PATH:
        return path
    digest = short_digest(os.fsencode(data_dir.resolve()), 16)
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > 50:
        base = "/tmp"  # noqa: S108 - the directory below is checked to be ours alone
    return Path(base) / f"po-jupyter-{os.getuid()}" / f"{digest}.sock"


def make_socket_directory(address: Path) -> None:
    """Make the socket's directory, for this user only. Raises StoreUnusable when it is another user's."""
    folder = address.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise StoreUnusable(f"{folder} belongs to somebody else; the orchestrator's socket cannot be there")
    if info.st_mode & 0o077:
        folder.chmod(0o700)


class Channel:
    """One connection. `send` never blocks and never raises: to a peer that is gone nothing is sent."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, incoming: Vocabulary
    ) -> None:
        """`incoming`: the messages that this end receives."""
        self._reader = reader
        self._writer = writer
        self._incoming = incoming
        self._unsent: list[bytes] = []  # of this turn of the loop: they leave together

    def send(self, message: IpcMessage, run: str | None = None) -> None:
        """Queue one message; `run` is whom it is about, where it does not say so itself."""
        if self._writer.is_closing() or self._writer.transport.get_write_buffer_size() > _MAX_BACKLOG:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(message.encode(run))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._writer.is_closing():
            self._writer.write(b"".join(unsent))

    async def receive(self) -> IpcMessage | None:
        """The next message that this version knows, or None at the end. A line that is no JSON object ends the
        connection; a message whose fields are not what they must be is passed over."""
        addressed = await self.receive_addressed()
        return None if addressed is None else addressed[0]

    async def receive_addressed(self) -> tuple[IpcMessage, str | None] | None:
        """As `receive`, with the run that the message names (None: it names none)."""
        while True:
            try:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    return None
                message, run = self._incoming.decode_addressed(line)
            except MalformedMessage:
                continue
            except (ValueError, OSError, asyncio.LimitOverrunError):
                return None
            if message is not None:
                return message, run

    async def drain(self) -> None:
        """Wait until what was sent has left this process."""
        self._flush()
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
        """End the connection."""
        self._flush()
        self._writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()


async def connect(address: Path) -> Channel:
    """A connection to the orchestrator that listens there. Raises OSError when none does."""
    reader, writer = await asyncio.open_unix_connection(str(address), limit=LIMIT)
    return Channel(reader, writer, FROM_ORCHESTRATOR)


async def notify(address: Path, run: str | None, patience: float = _NOTIFY_TIMEOUT) -> NotifyReply | None:
    """Have the orchestrator that holds the store look at a run (None: at none), and learn what it has to do; None
    when nobody answered within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            channel = await connect(address)
            try:
                channel.send(Notify(run))
                reply = await channel.receive()
            finally:
                await channel.close()
    except (OSError, TimeoutError):
        return None
    return reply if isinstance(reply, NotifyReply) else None


class Listener:
    """The orchestrator's socket. `serve(channel, first)` is called for each connection with its first message."""

    def __init__(self, address: Path, serve: Callable[[Channel, IpcMessage], Awaitable[None]]) -> None:
        """Binds nothing yet."""
        self.address = address
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind. A socket file of an earlier orchestrator is replaced in one step, so that a worker that looks for
        the path always finds one."""
        make_socket_directory(self.address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = self.address.with_suffix(f".{os.getpid()}")
        with suppress(FileNotFoundError):
            path.unlink()
        try:
            sock.bind(str(path))
            path.chmod(0o600)
            sock.listen(512)
            sock.setblocking(False)
            os.replace(path, self.address)
        except OSError:
            sock.close()
            raise
        self._inode = self.address.stat().st_ino
        self._server = await asyncio.start_unix_server(self._accept, sock=sock, limit=LIMIT)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, TO_ORCHESTRATOR)
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            peer = channel.peer()
            if peer is not None and peer[1] != os.getuid():
                return
            async with asyncio.timeout(_FIRST_MESSAGE):
                first = await channel.receive()
            if first is not None:
                await self._serve(channel, first)
        except (TimeoutError, asyncio.CancelledError):
            pass  # the connection's own task: to be cancelled is to hang up
        finally:
            self._connections.discard(task)
            writer.close()

    async def close(self) -> None:
        """End every connection and remove the socket, unless another orchestrator has bound the path meanwhile."""
        server, self._server = self._server, None  # a lost lease and a stop may come at the same time
        if server is None:
            return
        server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        with suppress(OSError):
            if self.address.stat().st_ino == self._inode:
                self.address.unlink()
