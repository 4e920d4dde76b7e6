"""Credentials of a link over TCP: who connects, and the proof that both ends know the same secret.

Every program of a machine can connect to a port of loopback, and listen at one that has become free. So nobody sends a
secret: each end sends a random number, and proves with HMAC-SHA256 over both that it has the secret. First the server
does, so that a stranger at its port learns nothing. All of it has a fixed length: nobody can send more before that.

    client: TAG, name (64 bytes), nonce (32)     server: nonce (32), proof (32)     client: proof (32)

The key of a data directory lies in it, for its user alone. The secret of a name is derived from the key: an
orchestrator knows the workers of an earlier one, and a worker cannot derive another's from its own.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple, Self

from po_jupyter.platform.private_file import write_private

SERVER = "server"  # the name of other servers of a data directory, which can read its key
_TAG = b"PO-1"
_NAME = 64  # bytes
_SIZE = 32  # bytes of a key, a secret, a nonce and a proof
_FIRST = len(_TAG) + _NAME + _SIZE


class Credential(NamedTuple):
    """The name and secret of one who connects. As text `NAME:SECRET`, for its owner alone."""

    name: str
    secret: bytes

    def to_text(self) -> str:
        """The text that `from_text` reads."""
        return f"{self.name}:{self.secret.hex()}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The credential of a text. Raises ValueError."""
        name, _, secret = text.rpartition(":")
        return cls(name, bytes.fromhex(secret))

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Credential({self.name!r})"


class LinkRefused(ConnectionError):
    """The other end did not prove that it has the secret."""


def read_key(path: Path) -> bytes:
    """The key in the file. Raises OSError, also when there is no key in it."""
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except ValueError:
        key = b""
    if len(key) != _SIZE:
        raise OSError(f"{path} holds no key")
    return key


def ensure_key(path: Path) -> bytes:
    """The key in the file, made now when there is none. Raises OSError."""
    try:
        return read_key(path)
    except OSError:
        write_private(path, secrets.token_hex(_SIZE))
        return read_key(path)


def credential_of(key: bytes, name: str) -> Credential:
    """The credential of that name."""
    return Credential(name, hmac.digest(key, b"link\0" + name.encode(), "sha256"))


def new_credential(key: bytes, run: str) -> Credential:
    """A credential for one new worker of the run."""
    return credential_of(key, f"{run}.{secrets.token_hex(4)}")


def run_of(name: str) -> str:
    """The run whose worker has that name."""
    return name.partition(".")[0]


async def prove_to_server(sock: socket.socket, credential: Credential) -> None:
    """The client's part, on a connected socket. Raises LinkRefused, and another OSError when the connection ends."""
    loop = asyncio.get_running_loop()
    nonce = os.urandom(_SIZE)
    await loop.sock_sendall(sock, _TAG + credential.name.encode().ljust(_NAME, b"\0") + nonce)
    answer = await _receive(sock, 2 * _SIZE)
    theirs, proof = answer[:_SIZE], answer[_SIZE:]
    if not hmac.compare_digest(proof, _proof(b"server", credential, nonce, theirs)):
        raise LinkRefused("the other end is not the orchestrator")
    await loop.sock_sendall(sock, _proof(b"client", credential, nonce, theirs))


async def prove_to_client(sock: socket.socket, key: bytes) -> str:
    """The server's part, on a socket that was accepted; the name of the client, which is who it says. Raises
    LinkRefused, and another OSError when the connection ends."""
    loop = asyncio.get_running_loop()
    first = await _receive(sock, _FIRST)
    name = first[len(_TAG) : len(_TAG) + _NAME].rstrip(b"\0")
    if not first.startswith(_TAG) or not name.isascii():
        raise LinkRefused("this is not the first message of a link")
    credential = credential_of(key, name.decode("ascii"))
    nonce, theirs = os.urandom(_SIZE), first[-_SIZE:]
    await loop.sock_sendall(sock, nonce + _proof(b"server", credential, theirs, nonce))
    proof = await _receive(sock, _SIZE)
    if not hmac.compare_digest(proof, _proof(b"client", credential, theirs, nonce)):
        raise LinkRefused("the other end does not have the secret")
    return credential.name


def _proof(role: bytes, credential: Credential, client_nonce: bytes, server_nonce: bytes) -> bytes:
    return hmac.digest(credential.secret, role + b"\0" + client_nonce + server_nonce, "sha256")


async def _receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, and none after them."""
    received = b""
    while len(received) < size:
        piece = await asyncio.get_running_loop().sock_recv(sock, size - len(received))
        if not piece:
            raise LinkRefused("the other end hung up")
        received += piece
    return received
