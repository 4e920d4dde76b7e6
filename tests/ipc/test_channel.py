"""Channels over a real socket: what is sent arrives, nonsense hurts one connection, and only this user's connect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from po_jupyter.ipc.channel import (
    Channel,
    Listener,
    address_of,
    connect,
    notify,
)
from po_jupyter.ipc.messages import Heartbeat, Notify, NotifyReply, OrchestratorLoad, WorkerHello
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.platform.private_dir import make_own

pytestmark = pytest.mark.integration

HELLO = WorkerHello("r", os.getpid(), None, 1)
LOAD: OrchestratorLoad = {"running": 0, "queued": 0, "positions": {}, "held": {}}


@asynccontextmanager
async def listening(
    address: Path, serve: Callable[[Channel, IpcMessage], Awaitable[None]]
) -> AsyncIterator[Listener]:
    listener = Listener(address, serve)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


async def test_messages_go_both_ways_and_the_kernel_says_who_is_there(tmp_path: Path) -> None:
    peers = []

    async def echo(channel: Channel, first: IpcMessage) -> None:
        peers.append(channel.peer())
        assert first == HELLO
        while (message := await channel.receive()) is not None:
            channel.send(message)

    async with listening(tmp_path / "s", echo) as listener:
        assert listener.address.stat().st_mode & 0o777 == 0o600
        channel = await connect(tmp_path / "s")
        channel.send(HELLO)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        await channel.close()
        channel.send(Heartbeat())  # to nobody, without an error
    assert peers in ([(os.getpid(), os.getuid())], [None])
    assert not (tmp_path / "s").exists()


async def test_who_is_cancelled_while_a_connection_ends_is_cancelled(tmp_path: Path) -> None:
    """A worker that was told to end as its orchestrator went looked for another one for ever."""

    async def listen(channel: Channel, _first: IpcMessage) -> None:
        await channel.receive()

    async with listening(tmp_path / "s", listen):
        channel = await connect(tmp_path / "s")

        async def close_and_go_on() -> None:
            await channel.close()
            await asyncio.Event().wait()

        cancelled, other = asyncio.create_task(close_and_go_on()), asyncio.create_task(channel.close())
        await asyncio.sleep(0)  # both wait for the end of the connection
        cancelled.cancel()
        ended, _ = await asyncio.wait([cancelled, other], timeout=5)
        assert cancelled in ended and cancelled.cancelled()
        assert other in ended and other.exception() is None, "who was not cancelled ends as ever"
        await channel.close()


async def test_a_peer_that_takes_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """An orchestrator that was stopped keeps its sockets: its workers never noticed that they were alone."""
    over = asyncio.Event()

    async def listen(_channel: Channel, _first: IpcMessage) -> None:
        await over.wait()

    async with listening(tmp_path / "s", listen):
        channel = await connect(tmp_path / "s")
        channel.send(HELLO)
        for _ in range(12):
            channel.send(Notify("r" * 500_000))
        reading = asyncio.create_task(channel.receive())
        async with asyncio.timeout(10):
            await channel.close()
            assert await reading is None
        over.set()


async def test_nonsense_ends_its_connection_and_unknown_messages_are_passed_over(tmp_path: Path) -> None:
    heard: list[IpcMessage | None] = []
    served = asyncio.Event()

    async def listen(channel: Channel, first: IpcMessage) -> None:
        heard.append(first)
        while (message := await channel.receive()) is not None:
            heard.append(message)
        served.set()

    async with listening(tmp_path / "s", listen):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b'{"op":"from.the.future"}\n{"op":"hello","run":1}\n' + HELLO.encode())
        writer.write(Heartbeat().encode() + b"nonsense\n" + Heartbeat().encode())
        async with asyncio.timeout(5):
            await served.wait()
            assert await reader.read() == b""
        writer.close()
    assert heard == [HELLO, Heartbeat()]


async def test_a_line_longer_than_the_limit_ends_the_connection(tmp_path: Path) -> None:
    async def listen(channel: Channel, first: IpcMessage) -> None:
        while await channel.receive() is not None:
            pass

    async with listening(tmp_path / "s", listen):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(HELLO.encode() + b"x" * (3 << 20))
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):  # it was not read to its end
                assert await reader.read() == b""
        writer.close()


async def test_a_notification_is_answered_with_the_load_or_by_nobody(tmp_path: Path) -> None:
    runs: list[str | None] = []

    async def answer(channel: Channel, first: IpcMessage) -> None:
        assert isinstance(first, Notify)
        runs.append(first.run)
        if first.run != "silent":
            channel.send(NotifyReply(LOAD))
            await channel.drain()
        await channel.receive()

    async with listening(tmp_path / "s", answer):
        assert await notify(tmp_path / "s", "r") == NotifyReply(LOAD)
        assert await notify(tmp_path / "s", "silent", patience=0.1) is None
    assert await notify(tmp_path / "s", None) is None
    assert runs == ["r", "silent"]


async def test_the_socket_of_another_orchestrator_is_left_alone(tmp_path: Path) -> None:
    async def hang_up(channel: Channel, first: IpcMessage) -> None:
        channel.send(Heartbeat())
        await channel.drain()

    async with listening(tmp_path / "s", hang_up):
        async with listening(tmp_path / "s", hang_up) as second:  # replaces the path
            pass
        assert not (tmp_path / "s").exists()
        async with listening(tmp_path / "s", hang_up) as third:
            inode = third.address.stat().st_ino
            await second.close()
            assert third.address.stat().st_ino == inode


def test_the_socket_has_a_short_path_of_this_users_own(tmp_path: Path) -> None:
    """A data directory may be deep; a Unix socket's path may not."""
    deep = tmp_path / ("x" * 120)
    address = address_of(deep)
    assert len(str(address)) < 108
    assert address == address_of(deep)
    make_own(address.parent)
    assert address.parent.stat().st_mode & 0o777 == 0o700
    assert address_of(Path("/short")) == Path("/short/orchestrator.sock")
