"""Issue 11, part 1: over TCP both ends prove that they know a secret, and nothing is read before that."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from po_jupyter.ipc import credentials
from po_jupyter.ipc.credentials import Credential, LinkRefused

pytestmark = pytest.mark.integration

KEY = bytes(range(32))


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


async def meet(credential: Credential, key: bytes = KEY) -> tuple[object, object]:
    """What the client's part and the server's part end with."""
    client, server = pair()

    async def prove() -> None:
        with client:
            await credentials.prove_to_server(client, credential)

    async def check() -> str:
        with server:
            return await credentials.prove_to_client(server, key)

    async with asyncio.timeout(5):
        proved, name = await asyncio.gather(prove(), check(), return_exceptions=True)
    return proved, name


async def test_both_ends_know_each_other_afterwards() -> None:
    worker = credentials.new_credential(KEY, "r" * 22)
    assert await meet(worker) == (None, worker.name)
    assert credentials.run_of(worker.name) == "r" * 22
    assert credentials.new_credential(KEY, "r" * 22) != worker, "each worker has its own"
    server = credentials.credential_of(KEY, credentials.SERVER)
    assert await meet(server) == (None, credentials.SERVER)


@pytest.mark.parametrize(
    "credential",
    [
        Credential("r.1", b"\0" * 32),
        credentials.credential_of(b"another key".ljust(32), "r.1"),
        credentials.credential_of(KEY, "r.2")._replace(name="r.1"),  # of another worker
        credentials.credential_of(KEY, "r.1")._replace(name=credentials.SERVER),
        Credential("", b""),
    ],
    ids=["no secret", "of another directory", "of another worker", "of no server", "empty"],
)
async def test_a_wrong_secret_is_refused_by_both_ends(credential: Credential) -> None:
    proved, name = await meet(credential)
    assert isinstance(proved, LinkRefused), "it does not trust the server either"
    assert isinstance(name, OSError)


async def test_a_stranger_at_the_port_does_not_learn_the_secret() -> None:
    """Another program may have the port of an orchestrator that died; it can only say again what it heard."""
    worker = credentials.new_credential(KEY, "r")
    client, stranger = pair()
    loop = asyncio.get_running_loop()
    with client, stranger:
        proving = asyncio.create_task(credentials.prove_to_server(client, worker))
        heard = await loop.sock_recv(stranger, 4096)
        assert worker.secret not in heard and worker.secret.hex().encode() not in heard
        await loop.sock_sendall(stranger, heard[-32:] + heard[-32:])
        with pytest.raises(LinkRefused):
            await proving
        client.close()
        assert await loop.sock_recv(stranger, 4096) == b"", "no proof was sent"


async def test_a_proof_cannot_be_used_again() -> None:
    worker = credentials.new_credential(KEY, "r")
    loop = asyncio.get_running_loop()
    client, server = pair()
    recorded: list[bytes] = []
    with client, server:
        checking = asyncio.create_task(credentials.prove_to_client(server, KEY))
        first = b"PO-1" + worker.name.encode().ljust(64, b"\0") + b"\1" * 32
        await loop.sock_sendall(client, first)
        answer = await loop.sock_recv(client, 4096)
        proof = credentials._proof(b"client", worker, b"\1" * 32, answer[:32])
        await loop.sock_sendall(client, proof)
        assert await checking == worker.name
        recorded = [first, proof]
    client, server = pair()
    with client, server:
        checking = asyncio.create_task(credentials.prove_to_client(server, KEY))
        await loop.sock_sendall(client, b"".join(recorded))
        with pytest.raises(LinkRefused, match="does not have the secret"):
            await checking


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n" + b"x" * 100,
        b"x" * 1_000_000,
        b'{"op":"hello","run":"r"}\n' * 10,
        b"PO-1" + b"\xff" * 200,
    ],
    ids=["a browser", "a megabyte", "an older worker", "no name"],
)
async def test_a_stranger_is_refused_after_a_hundred_bytes(first: bytes) -> None:
    client, server = pair()
    with client, server:
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(client, first))
        with pytest.raises(LinkRefused, match="not the first message"):
            await credentials.prove_to_client(server, KEY)
        left = 0
        while len(piece := await loop.sock_recv(server, 1 << 16)) == 1 << 16:
            left += len(piece)
        sending.cancel()
        assert left + len(piece) <= len(first) - 100, "no more than that was read"


async def test_one_who_hangs_up_is_no_error_of_ours() -> None:
    client, server = pair()
    with server:
        client.close()
        with pytest.raises(LinkRefused, match="hung up"):
            await credentials.prove_to_client(server, KEY)


def test_a_credential_does_not_print_its_secret_and_survives_as_text() -> None:
    worker = credentials.new_credential(KEY, "r")
    assert worker.secret.hex() not in f"{worker!r} {worker}"
    assert Credential.from_text(worker.to_text()) == worker
    with pytest.raises(ValueError, match="hex"):
        Credential.from_text("r:secret")


def test_the_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(OSError, match="key"):
        credentials.read_key(path)
    key = credentials.ensure_key(path)
    assert len(key) == 32 and credentials.ensure_key(path) == key == credentials.read_key(path)
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("half a ke")  # of a disk that was full
    assert credentials.ensure_key(path) != key
