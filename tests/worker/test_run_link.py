"""The messages of several runs over one link: each names its run, and each run gets its own. See also the link's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel, Listener
from po_jupyter.ipc.messages import (
    DrainWorker,
    Heartbeat,
    LogGrew,
    LookAtLog,
    RunLeft,
    SharedHello,
    TakeRun,
    WatchedChanged,
    Welcome,
    WorkerHello,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.worker.orchestrator_link import OrchestratorLink, ProcessHandlers
from po_jupyter.worker.run_link import LinkHandlers, RunLink

pytestmark = pytest.mark.integration

RATES: Any = {"epoch": "e", "limited": []}


class FakeOrchestrator:
    """Keeps what a process of many runs sends, each message with its run."""

    def __init__(self, address: Path) -> None:
        self.received: list[tuple[IpcMessage, str | None]] = []
        self.channel: Channel | None = None
        self.listener = Listener(address, self._serve)

    async def _serve(self, channel: Channel, first: IpcMessage) -> None:
        self.received.append((first, None))
        self.channel = channel
        channel.send(Heartbeat())
        while (addressed := await channel.receive_addressed()) is not None:
            self.received.append(addressed)

    async def hears(self, kind: type[IpcMessage], times: int = 1) -> list[tuple[Any, str | None]]:
        async with asyncio.timeout(5):
            while len(found := [m for m in self.received if isinstance(m[0], kind)]) < times:
                await asyncio.sleep(0.005)
        return found


def handlers(calls: list[str], name: str) -> LinkHandlers:
    return LinkHandlers(
        look=lambda: calls.append(f"{name} look"),
        drain=lambda: calls.append(f"{name} drain"),
        welcome=lambda message: calls.append(f"{name} welcome"),
        rates=lambda message: None,
    )


async def test_each_run_gets_its_own_messages_and_is_named_in_those_that_it_sends(tmp_path: Path) -> None:
    fake = FakeOrchestrator(tmp_path / "s")
    await fake.listener.start()
    calls: list[str] = []
    taken: list[TakeRun] = []
    process = OrchestratorLink(
        tmp_path / "s", Settings(heartbeat=0.05, lease_ttl=5.0),
        shared=ProcessHandlers(taken.append, lambda: calls.append("all drain"), lambda: calls.append("hung up")),
    )  # fmt: skip
    process.start()
    assert (await fake.hears(SharedHello))[0][0].runs == []
    assert fake.channel is not None
    fake.channel.send(TakeRun("one", 0, True, RATES), "one")
    async with asyncio.timeout(5):
        while not taken:
            await asyncio.sleep(0.005)
    links = {
        name: RunLink(process, name, stop=lambda name=name: calls.append(f"{name} stop"))
        for name in ("one", "two")
    }
    for name, link in links.items():
        process.join(link)
        link.deliver(Welcome(True, RATES))
        link.listen(handlers(calls, name))
    assert calls == ["one welcome", "two welcome"]
    fake.channel.send(LookAtLog(), "two")
    fake.channel.send(WatchedChanged(False), "one")
    fake.channel.send(LookAtLog(), "gone")
    fake.channel.send(DrainWorker())
    async with asyncio.timeout(5):
        while "all drain" not in calls:
            await asyncio.sleep(0.005)
    assert calls[2:] == ["two look", "all drain"]
    assert (links["one"].watched, links["two"].watched) == (False, True)
    links["two"].committed({"n": 3, "offset": 4, "state": "running"})  # type: ignore[typeddict-item]
    assert (await fake.hears(LogGrew))[0] == (LogGrew(3, 4, "running"), "two")
    # A run that leaves while nobody hears it: the next orchestrator is told, and who is still here greets it.
    links["one"].close()
    await fake.channel.close()
    async with asyncio.timeout(5):
        while "hung up" not in calls:
            await asyncio.sleep(0.005)
    process.left("one", 75)
    hellos = await fake.hears(SharedHello, 2)
    assert sorted(hellos[1][0].runs) == ["one", "two"]
    assert (await fake.hears(RunLeft))[0] == (RunLeft(75), "one")
    assert [hello.run for hello, _ in await fake.hears(WorkerHello)] == ["two"]
    links["two"].close()
    await process.close()
    await fake.listener.close()
