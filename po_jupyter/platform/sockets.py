"""Sockets of this machine: Unix sockets where there are any, with who is at the other end, and loopback TCP."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

HAS_UNIX_SOCKETS = sys.platform != "win32" and hasattr(socket, "AF_UNIX")
_BACKLOG = 512
_NONE = "this system has no Unix sockets"

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def bind_unix(path: Path) -> socket.socket:
    """A socket that listens at the path, for this user alone. One of an earlier process is replaced in one step, so
    that whoever looks for the path always finds one. Raises OSError."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        own = path.with_suffix(f".{os.getpid()}")
        with suppress(FileNotFoundError):
            own.unlink()
        try:
            sock.bind(str(own))
            own.chmod(0o600)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
            os.replace(own, path)
        except OSError:
            sock.close()
            raise
        return sock


async def serve_unix(sock: socket.socket, accept: Accept, *, limit: int) -> asyncio.Server:
    """A server at a socket of `bind_unix`; `limit` is of one line, in bytes."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        return await asyncio.start_unix_server(accept, sock=sock, limit=limit)


async def open_unix(path: Path, *, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to who listens at the path. Raises OSError when nobody does."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        return await asyncio.open_unix_connection(str(path), limit=limit)


def bind_loopback() -> socket.socket:
    """A socket that listens at a free port of 127.0.0.1: every program of this machine can connect."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind(("127.0.0.1", 0))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def without_delay(sock: socket.socket) -> None:
    """Have small messages leave at once."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_of(sock: socket.socket | None) -> tuple[int, int] | None:
    """(pid, uid) of the other end of a Unix socket as the kernel knows them, or None where it does not say."""
    if sys.platform == "linux" and sock is not None and sock.family == socket.AF_UNIX:
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    return None


def send_descriptor(sock: socket.socket, descriptor: int) -> None:
    """Hand a descriptor over to the other end of a Unix socket. Raises OSError."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        socket.send_fds(sock, [b"+"], [descriptor])


def receive_descriptors(sock: socket.socket) -> list[int] | None:
    """The descriptors of the next `send_descriptor`; None at the end. Raises OSError."""
    if sys.platform == "win32":
        raise OSError(_NONE)
    else:
        message, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
        return descriptors if message else None
