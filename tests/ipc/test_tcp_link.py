"""Issue 11, part 1: the orchestrator's door on loopback TCP, as workers, other servers and strangers meet it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from po_jupyter.ipc import channel as link
from po_jupyter.ipc import credentials
from po_jupyter.ipc.channel import (
    Channel,
    Listener,
    connect,
    key_file_of,
    notify,
    port_file_of,
    worker_credential,
)
from po_jupyter.ipc.messages import Heartbeat, Notify, NotifyReply, OrchestratorLoad, WorkerHello
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.platform import sockets

pytestmark = pytest.mark.integration

HELLO = WorkerHello("r", os.getpid(), None, 1)
LOAD: OrchestratorLoad = {"running": 0, "queued": 0, "positions": {}, "held": {}}


class Door:
    """A listener on TCP that says who came, and echoes."""

    def __init__(self, address: Path) -> None:
        self.runs: list[str | None] = []
        self.listener = Listener(address, self._serve, tcp=True)

    async def _serve(self, channel: Channel, first: IpcMessage) -> None:
        self.runs.append(channel.run)
        if isinstance(first, Notify):
            channel.send(NotifyReply(LOAD))
            await channel.drain()
            return
        while (message := await channel.receive()) is not None:
            channel.send(message)

    @property
    def port(self) -> int:
        return int(port_file_of(self.listener.address).read_text().rpartition(":")[2])


@asynccontextmanager
async def door(address: Path) -> AsyncIterator[Door]:
    opened = Door(address)
    await opened.listener.start()
    try:
        yield opened
    finally:
        await opened.listener.close()


@pytest.fixture
def no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(sockets, "HAS_UNIX_SOCKETS", False)


async def test_a_worker_connects_over_tcp_and_is_known_by_its_run(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with door(address) as opened:
        channel = await connect(address, worker_credential(address, "r"))
        channel.send(HELLO)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        assert channel.peer() is None, "TCP has no word of the other process"
        await channel.close()
        for path in (port_file_of(address), key_file_of(address)):
            assert path.stat().st_mode & 0o077 == 0
    assert opened.runs == ["r"]
    assert not port_file_of(address).exists() and key_file_of(address).exists()


@pytest.mark.usefixtures("no_unix_sockets")
async def test_without_unix_sockets_other_servers_use_the_key_of_the_directory(tmp_path: Path) -> None:
    address = tmp_path / "s"
    assert await notify(address, None) is None, "nobody was ever there"
    async with door(address) as opened:
        assert not address.exists()
        assert await notify(address, "r") == NotifyReply(LOAD)
        key_file_of(address).write_text("00" * 32)
        assert await notify(address, "r") is None
    assert opened.runs == [None]


async def test_a_wrong_secret_finds_no_orchestrator(tmp_path: Path, no_unix_sockets: None) -> None:
    address = tmp_path / "s"
    async with door(address) as opened:
        wrong = credentials.new_credential(b"x" * 32, "r")
        with pytest.raises(OSError):
            await connect(address, wrong)
        for _ in range(link._MAX_STRANGERS + 10):  # each gives its place back
            with pytest.raises(OSError):
                await connect(address, wrong)
        channel = await connect(address, worker_credential(address, "r"))
        await channel.close()
    assert opened.runs in ([], ["r"])


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5, b"\0" * 5_000_000, HELLO.encode() * 9]
)
async def test_a_stranger_gets_nothing_and_hurts_nobody(tmp_path: Path, first: bytes) -> None:
    address = tmp_path / "s"
    async with door(address) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(first)
        async with asyncio.timeout(5):
            with suppress(ConnectionError):  # it was not read to its end
                assert await reader.read() == b""
        writer.close()
        channel = await connect(address, worker_credential(address, "r"))
        channel.send(HELLO)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        await channel.close()
    assert opened.runs == ["r"]


async def test_strangers_who_say_nothing_are_few_and_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_PROOF", 0.5)
    monkeypatch.setattr(link, "_MAX_STRANGERS", 4)
    address = tmp_path / "s"
    async with door(address) as opened:
        silent = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(8)]
        async with asyncio.timeout(5):
            for reader, _ in silent:  # half of them at once, the others after a moment
                assert await reader.read() == b""
        for _, writer in silent:
            writer.close()
        channel = await connect(address, worker_credential(address, "r"))
        await channel.close()


async def test_strangers_who_say_nothing_shut_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody on this machine can connect, and come again."""
    monkeypatch.setattr(link, "_MAX_STRANGERS", 4)
    address = tmp_path / "s"
    async with door(address) as opened:
        silent = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(8)]
        await asyncio.sleep(0.05)
        channel = await connect(address, worker_credential(address, "r"))
        channel.send(HELLO)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        await channel.close()
        assert len(opened.listener._strangers) <= 4
        for _, writer in silent:
            writer.close()


async def test_a_line_longer_than_the_limit_ends_a_link_over_tcp_too(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with door(address):
        channel = await connect(address, worker_credential(address, "r"))
        channel._writer.write(HELLO.encode() + b"x" * (3 << 20))
        async with asyncio.timeout(5):
            assert await channel.receive() is None
        await channel.close()


async def test_a_later_orchestrator_knows_the_workers_of_an_earlier_one(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with door(address):
        credential = worker_credential(address, "r")
    async with door(address) as later:
        channel = await connect(address, credential)
        channel.send(HELLO)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        await channel.close()
    assert later.runs == ["r"]


async def test_a_worker_of_spawn_finds_an_orchestrator_that_forks(tmp_path: Path) -> None:
    """The setting may change between two orchestrators: where there is no door on TCP it goes to the socket."""
    address = tmp_path / "s"
    credential = worker_credential(address, "r")
    port_file_of(address).write_text("127.0.0.1:9")  # of one that was killed
    runs: list[str | None] = []

    async def serve(channel: Channel, first: IpcMessage) -> None:
        runs.append(channel.run)
        channel.send(Heartbeat())
        await channel.drain()

    listener = Listener(address, serve)
    await listener.start()
    try:
        assert not port_file_of(address).exists()
        channel = await connect(address, credential)
        channel.send(HELLO)
        assert await channel.receive() == Heartbeat()
        await channel.close()
    finally:
        await listener.close()
    assert runs == [None]


async def test_the_port_of_another_orchestrator_is_left_alone(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with door(address) as first, door(address) as second:
        await first.listener.close()
        channel = await connect(address, worker_credential(address, "r"))
        await channel.close()
        assert second.port


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:x", "nonsense", "127.0.0.1:-1"])
async def test_a_broken_port_file_is_nobody(tmp_path: Path, text: str, no_unix_sockets: None) -> None:
    address = tmp_path / "s"
    credential = worker_credential(address, "r")
    port_file_of(address).write_text(text)
    with pytest.raises(OSError):
        await connect(address, credential)
