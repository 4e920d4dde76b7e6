"""Channels: messages as JSON lines between processes of this user, and who listens for them.

The orchestrator that holds a data directory has the `Listener`; its workers and the other servers of that directory
`connect`. The messages are in `ipc.messages`.

An address is the path of a Unix socket. Beside it, in `runtime/`, may lie where the same orchestrator listens on
loopback TCP (`orchestrator.port`), with the key of all who may connect there (`orchestrator.key`, `ipc.credentials`):
for systems without Unix sockets, and for workers that were started by spawn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from po_jupyter.ipc import credentials
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.messages import FROM_ORCHESTRATOR, TO_ORCHESTRATOR, Notify, NotifyReply
from po_jupyter.ipc.wire import IpcMessage, MalformedMessage, Vocabulary
from po_jupyter.model.values.digests import short_digest
from po_jupyter.platform import private_dir, sockets, users
from po_jupyter.platform.private_file import write_private

LIMIT = 1 << 20  # bytes of one line
_NAME = "orchestrator.sock"
_MAX_PATH = 90  # bytes; sun_path holds 104 on macOS and 108 on Linux
_MAX_BACKLOG = 8 * LIMIT  # bytes that a peer has not read; beyond them it gets nothing more
_FIRST_MESSAGE = 10.0  # s that a new connection may take to say what it is
_LAST_WORDS = 1.0  # s that what was sent may take to leave, once a connection is to end
_PROOF = 5.0  # s that both ends may take to prove who they are
_MAX_STRANGERS = 64  # connections over TCP at once that have proved nothing yet
_NOTIFY_TIMEOUT = 2.0  # s that an orchestrator may take to answer a `notify`


def address_of(data_dir: Path) -> Path:
    """The address of the orchestrator of this data directory: in it, or, when that path is too long for a socket, in
    a directory of this user under the runtime or temporary directory."""
    path = data_dir / _NAME
    if not sockets.HAS_UNIX_SOCKETS or len(os.fsencode(path)) < _MAX_PATH:
        return path
    digest = short_digest(os.fsencode(data_dir.resolve()), 16)
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > 50:
        base = "/tmp"  # noqa: S108 - the directory below is checked to be ours alone
    return Path(base) / f"po-jupyter-{users.current()}" / f"{digest}.sock"


def port_file_of(address: Path) -> Path:
    """The file that says at which port of loopback the orchestrator of that address listens, if it does."""
    return address.parent / "runtime" / f"{address.stem}.port"


def key_file_of(address: Path) -> Path:
    """The file of the key of all who may connect to that port."""
    return address.parent / "runtime" / f"{address.stem}.key"


def worker_credential(address: Path, run: str) -> Credential:
    """The credential of a new worker of the run, for the orchestrator of that address. Raises OSError."""
    private_dir.make_own(address.parent / "runtime")
    return credentials.new_credential(credentials.ensure_key(key_file_of(address)), run)


class Channel:
    """One connection. `send` never blocks and never raises: to a peer that is gone nothing is sent.

    `run` is the one whose worker is at the other end, when it proved that; "" for a worker of no particular run.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        incoming: Vocabulary,
        *,
        run: str | None = None,
    ) -> None:
        """`incoming`: the messages that this end receives."""
        self.run = run
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
        return sockets.peer_of(self._writer.get_extra_info("socket"))

    async def close(self) -> None:
        """End the connection. What the peer does not take within a moment is lost: one that was stopped takes nothing,
        and would be waited for for ever."""
        self._flush()
        self._writer.close()
        cut = asyncio.get_running_loop().call_later(_LAST_WORDS, self._writer.transport.abort)
        try:
            await self._writer.wait_closed()
        except OSError:
            pass
        except asyncio.CancelledError:
            # Who waits for the same end, and was cancelled, cancels it for all; only who was cancelled is to know.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            cut.cancel()


async def connect(address: Path, credential: Credential | None = None) -> Channel:
    """A connection to the orchestrator of that address. Raises OSError when none listens.

    With a `credential` over TCP, when the orchestrator listens there; without one by the Unix socket, and where there
    is none over TCP as another server of the same data directory.
    """
    if credential is None and not sockets.HAS_UNIX_SOCKETS:
        credential = credentials.credential_of(credentials.read_key(key_file_of(address)), credentials.SERVER)
    if credential is not None:
        try:
            return await _connect_tcp(port_file_of(address), credential)
        except OSError:
            if not sockets.HAS_UNIX_SOCKETS:
                raise
    reader, writer = await sockets.open_unix(address, limit=LIMIT)
    return Channel(reader, writer, FROM_ORCHESTRATOR)


async def _connect_tcp(port_file: Path, credential: Credential) -> Channel:
    host, port = _read_port(port_file)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sockets.without_delay(sock)
    try:
        async with asyncio.timeout(_PROOF):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            await credentials.prove_to_server(sock, credential)
        reader, writer = await asyncio.open_connection(sock=sock, limit=LIMIT)
    except BaseException:
        sock.close()
        raise
    return Channel(reader, writer, FROM_ORCHESTRATOR)


def _read_port(port_file: Path) -> tuple[str, int]:
    host, _, port = port_file.read_text("ascii").strip().rpartition(":")
    if not port.isdigit():
        raise OSError(f"{port_file} names no port")
    return host, int(port)


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
    """The orchestrator's sockets. `serve(channel, first)` is called for each connection with its first message."""

    def __init__(
        self, address: Path, serve: Callable[[Channel, IpcMessage], Awaitable[None]], *, tcp: bool = False
    ) -> None:
        """Binds nothing yet. `tcp`: listen on loopback TCP as well, for workers that were started by spawn; where
        there are no Unix sockets that is done in any case."""
        self.address = address
        self._serve = serve
        self._tcp = tcp or not sockets.HAS_UNIX_SOCKETS
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._port: socket.socket | None = None
        self._port_text = ""
        self._accepting: asyncio.Task[None] | None = None
        self._strangers: dict[asyncio.Task[None], None] = {}  # the first one came first
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind. Raises OSError, and StoreUnusable when the directory is another user's."""
        private_dir.make_own(self.address.parent)
        if sockets.HAS_UNIX_SOCKETS:
            sock = sockets.bind_unix(self.address)
            self._inode = self.address.stat().st_ino
            self._server = await sockets.serve_unix(sock, self._accept, limit=LIMIT)
        if self._tcp:
            self._listen_on_loopback()
        else:  # one of an orchestrator that was killed leads nowhere, or to somebody else
            port_file_of(self.address).unlink(missing_ok=True)

    def _listen_on_loopback(self) -> None:
        port_file = port_file_of(self.address)
        private_dir.make_own(port_file.parent)
        key = credentials.ensure_key(key_file_of(self.address))
        self._port = sock = sockets.bind_loopback()
        host, port = sock.getsockname()
        self._port_text = f"{host}:{port}"
        self._accepting = asyncio.create_task(self._accept_tcp(sock, key), name="link over TCP")
        write_private(port_file, self._port_text)

    async def _accept_tcp(self, listening: socket.socket, key: bytes) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError:  # no descriptor is left: the others come later
                await asyncio.sleep(0.1)
                continue
            if len(self._strangers) >= _MAX_STRANGERS:
                # The one that has said nothing for longest: who means well proves it within milliseconds.
                next(iter(self._strangers)).cancel()
            task = asyncio.create_task(self._admit(sock, key), name="link")
            self._strangers[task] = None
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            task.add_done_callback(self._no_stranger)

    def _no_stranger(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._strangers.pop(task, None)

    async def _admit(self, sock: socket.socket, key: bytes) -> None:
        """Have a new connection prove who it is, before anything else of it is read."""
        sock.setblocking(False)
        sockets.without_delay(sock)
        try:
            async with asyncio.timeout(_PROOF):
                name = await credentials.prove_to_client(sock, key)
            reader, writer = await asyncio.open_connection(sock=sock, limit=LIMIT)
        except (OSError, TimeoutError, asyncio.CancelledError):
            sock.close()
            return
        finally:
            self._no_stranger(asyncio.current_task())
        run = None if name == credentials.SERVER else credentials.run_of(name)
        await self._converse(Channel(reader, writer, TO_ORCHESTRATOR, run=run), writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, TO_ORCHESTRATOR)
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            peer = channel.peer()
            if peer is None or peer[1] == users.current():
                await self._converse(channel, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, channel: Channel, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_FIRST_MESSAGE):
                first = await channel.receive()
            if first is not None:
                await self._serve(channel, first)
        except (TimeoutError, asyncio.CancelledError):
            pass  # the connection's own task: to be cancelled is to hang up
        finally:
            writer.close()

    async def close(self) -> None:
        """End every connection and remove the sockets, unless another orchestrator has bound the address meanwhile."""
        server, self._server = self._server, None  # a lost lease and a stop may come at the same time
        port, self._port = self._port, None
        if server is None and port is None:
            return
        if server is not None:
            server.close()
        tasks = [*self._connections, *filter(None, [self._accepting])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if port is not None:
            port.close()
            with suppress(OSError):
                if port_file_of(self.address).read_text("ascii") == self._port_text:
                    port_file_of(self.address).unlink()
        if server is not None:
            await server.wait_closed()
            with suppress(OSError):
                if self.address.stat().st_ino == self._inode:
                    self.address.unlink()
