"""The gateway over a real socket, with a supervisor that is a list: who may connect, and what messages do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import Unavailable
from po_jupyter.ipc.channel import Channel, Listener, connect, notify
from po_jupyter.ipc.messages import (
    ChildChanged,
    Heartbeat,
    LogGrew,
    ResourceProgress,
    ResourceRequest,
    ResourceResponse,
    RestingChanged,
    RunLeft,
    SharedHello,
    StopWorker,
    StoreFailure,
    TextPiece,
    WatchedChanged,
    Welcome,
    WorkerFinished,
    WorkerHello,
)
from po_jupyter.ipc.rate_messages import RatePermitGranted, RatePermitRequest
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.model.run.rate_limit import RateLimit
from po_jupyter.orchestrator.events.change_feed import ChangeFeed, Notification
from po_jupyter.orchestrator.workers.gateway import WorkerGateway
from po_jupyter.orchestrator.workers.processes import SharedProcess, WorkerHandle, WorkerProcesses
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer
from po_jupyter.orchestrator.workers.shared_workers import SharedWorkers
from po_jupyter.platform import processes
from po_jupyter.platform.concurrency import BackgroundTasks
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Head
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration

LOAD = {"running": 1, "queued": 0, "positions": {}, "held": {}}


class FakeSupervisor:
    """A supervisor that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.known: set[str] = set()
        self.processes = WorkerProcesses(Settings(), self._exited)
        self.shared = SharedWorkers(Settings(), self.processes, self._start)
        self.background = BackgroundTasks()

    async def _exited(self, worker: WorkerHandle, status: int | None) -> None:
        raise AssertionError

    async def _start(self, on_exit: Any) -> processes.Identity:
        raise AssertionError

    def adopt(self, head: Any) -> WorkerHandle:
        worker = self.processes.by_run[head["run"]] = WorkerHandle(
            head["run"], head["holder"], 60.0, ours=False
        )
        return worker

    def connected(self, worker: WorkerHandle, *, adopted: bool) -> None:
        self.calls.append(("connected", adopted))

    def finished(self, worker: WorkerHandle, state: str) -> None:
        self.calls.append(("finished", state))

    def clear_store_wait(self, run: str) -> None:
        self.calls.append(("wrote", run))

    def pump(self) -> None:
        self.calls.append("pump")

    def load(self) -> dict[str, Any]:
        return LOAD

    def has_run(self, run: str) -> bool:
        return run in self.known

    async def attend(self, run: str) -> None:
        self.calls.append(("attend", run))

    def run_in_background(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.background.start(coroutine, name)


class House:
    """A store with a run, its gateway, and this process as the run's worker."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "s"
        self.store = MemoryStore()
        store_run(self.store)
        self.supervisor = FakeSupervisor()
        self.feed = ChangeFeed()
        settings = Settings(rate_limits={"openai": RateLimit(requests=1)})
        self.gateway = WorkerGateway(
            self.supervisor, self.store, self.feed,
            to_thread=asyncio.to_thread, get_resource=self.resource, rates=RateLimitServer(settings),
        )  # fmt: skip
        self.listener = Listener(self.address, self.gateway.serve)

    async def resource(
        self, run: str, request: ResourceRequest, progress: Callable[[str], None]
    ) -> ResourceResponse:
        assert run == RUN
        if request.model is None:
            raise Unavailable("no such thing")
        progress("half of it")
        return ResourceResponse(request.id, "http://here", "k")

    def have_worker(self) -> WorkerHandle:
        """This process is the run's worker, which the supervisor started."""
        worker = self.supervisor.processes.by_run[RUN] = WorkerHandle(RUN, processes.myself(), 60.0)
        return worker

    async def hello(self, *, fence: int = 1, pid: int = os.getpid()) -> tuple[Channel, IpcMessage | None]:
        """A connection, and the answer to the hello of a worker of that pid."""
        channel = await connect(self.address)
        channel.send(WorkerHello(RUN, pid, None, fence))
        return channel, await channel.receive()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.listener.start()
    yield house
    await house.listener.close()
    await house.supervisor.background.cancel()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_worker_is_welcomed_and_may_come_again(house: House) -> None:
    worker = house.have_worker()
    channel, welcome = await house.hello()
    assert isinstance(welcome, Welcome) and not welcome.watched
    assert welcome.rates is not None and welcome.rates["limited"] == ["openai"]
    assert worker.channel is not None
    await channel.close()
    await until(lambda: worker.channel is None)
    async with house.feed.subscribe(RUN):
        channel, welcome = await house.hello()
        assert isinstance(welcome, Welcome) and welcome.watched
    assert await channel.receive() == WatchedChanged(False)
    await channel.close()
    assert house.supervisor.calls == [("connected", False)] * 2


async def test_the_worker_of_an_earlier_orchestrator_is_adopted(house: House) -> None:
    lease = house.store.claim(RUN, processes.myself())
    channel, answer = await house.hello(fence=lease.fence)
    assert isinstance(answer, Welcome)
    assert house.supervisor.calls == [("connected", True)]
    await channel.close()


async def test_whoever_has_no_business_here_is_stopped(house: House) -> None:
    """P2: another fence, another process, a run that there is not."""
    lease = house.store.claim(RUN, processes.myself())
    for channel, answer in (
        await house.hello(fence=lease.fence + 1),
        await house.hello(fence=lease.fence, pid=os.getppid()),
    ):
        assert answer == StopWorker()
        await channel.close()
    lease = house.store.claim(RUN, {**processes.myself(), "reserves": True})
    channel, answer = await house.hello(fence=lease.fence)
    assert answer == StopWorker(), "a server that reserves a run is not its worker"
    await channel.close()
    channel = await connect(house.address)
    channel.send(WorkerHello("f" * 22, os.getpid(), None, 1))
    assert await channel.receive() == StopWorker()
    await channel.close()
    assert house.supervisor.calls == []


async def test_what_a_worker_says_reaches_who_it_concerns(house: House) -> None:
    worker = house.have_worker()
    channel, _ = await house.hello()
    calls = house.supervisor.calls
    async with house.feed.subscribe(RUN) as notes:
        assert await channel.receive() == WatchedChanged(True)
        channel.send(Heartbeat())
        assert await channel.receive() == Heartbeat()
        channel.send(TextPiece("t", "hi", 1, attempt=1))
        note = await notes.get(5)
        assert note is not None
        assert note.data == {"run": RUN, "task": "t", "text": "hi", "round": 1, "attempt": 1}
        channel.send(LogGrew(3, 5, "running"))
        assert await notes.get(5) == Notification("changed", RUN)
        channel.send(RestingChanged(True))
        await until(lambda: worker.resting)
        channel.send(StoreFailure("x" * 900, "Make room."))
        await until(lambda: worker.store_failure is not None)
        assert worker.store_failure == StoreFailure("x" * 500, "Make room.")
        channel.send(WorkerFinished("done"))
        assert await notes.get(5) == Notification("changed", RUN)
    assert calls == [("connected", False), ("wrote", RUN), "pump", ("finished", "done")]
    await channel.close()


async def test_a_request_is_answered_with_the_resource_or_the_error(house: House) -> None:
    house.have_worker()
    channel, _ = await house.hello()
    channel.send(ResourceRequest(1, "local_model", "local:m"))
    assert await channel.receive() == ResourceProgress(1, "half of it")
    assert await channel.receive() == ResourceResponse(1, "http://here", "k")
    channel.send(ResourceRequest(2, "a pony"))
    answer = await channel.receive()
    assert isinstance(answer, ResourceResponse) and answer.id == 2
    assert answer.error is not None and answer.error["message"] == "no such thing"
    await channel.close()


async def test_a_call_is_let_go(house: House) -> None:
    house.have_worker()
    channel, _ = await house.hello()
    channel.send(RatePermitRequest(1, "openai:gpt-4o-mini", 10, 10))
    assert await channel.receive() == RatePermitGranted(1)
    await channel.close()


async def test_another_server_notifies_and_learns_the_load(house: House) -> None:
    load = {**LOAD, "waits": [], "rates": {"openai": {"requests": 1}}}
    reply = await notify(house.address, RUN)
    assert reply is not None and reply.load == load
    reply = await notify(house.address, None)
    assert reply is not None and reply.load == load
    assert house.supervisor.calls == [("attend", RUN)]


async def test_the_end_of_an_older_connection_takes_nothing_from_the_newer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls of a worker that connected again would never be let go."""
    worker = house.have_worker()
    ended = asyncio.Event()
    disconnect = house.gateway._disconnect

    def note(worker: WorkerHandle, channel: Channel) -> None:
        disconnect(worker, channel)
        ended.set()

    monkeypatch.setattr(house.gateway, "_disconnect", note)
    old, _ = await house.hello()
    new, _ = await house.hello()
    await old.close()
    async with asyncio.timeout(5):
        await ended.wait()
    assert worker.channel is not None
    new.send(RatePermitRequest(1, "openai:gpt-4o-mini", 10, 10))
    async with asyncio.timeout(5):
        assert await new.receive() == RatePermitGranted(1)
    await new.close()


async def test_a_process_of_many_runs_that_connected_again_is_still_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of its older connection comes after the hello on the newer one."""
    shared = house.supervisor.shared
    worker = shared.adopt(RUN, processes.myself())
    ended = asyncio.Event()
    disconnected = shared.disconnected

    def note(process: SharedProcess, channel: Channel) -> None:
        disconnected(process, channel)
        ended.set()

    monkeypatch.setattr(shared, "disconnected", note)

    async def hello() -> Channel:
        channel = await connect(house.address)
        channel.send(SharedHello(os.getpid(), processes.myself()["created"], [RUN]))
        assert await channel.receive() == Heartbeat()
        return channel

    old = await hello()
    new = await hello()
    await old.close()
    async with asyncio.timeout(5):
        await ended.wait()
    new.send(RestingChanged(True), RUN)
    await until(lambda: worker.resting)
    await new.close()
    await shared.close()


async def test_a_run_of_an_earlier_servers_process_is_left_to_it_until_it_says_that_it_left(
    house: House,
) -> None:
    """Its calls are in flight: another worker would send them again."""
    me: processes.Identity = {**processes.myself(), "shared": True}
    shared = house.supervisor.shared
    shared.adopt(RUN, me)
    assert not shared.has_left(CHILD, me), "it has not said which runs it has"
    channel = await connect(house.address)
    channel.send(SharedHello(me["pid"], me["created"], [RUN, CHILD]))
    assert await channel.receive() == Heartbeat()
    assert not shared.has_left(CHILD, me)
    assert shared.has_left("d" * 22, me)
    channel.send(RunLeft(0), CHILD)
    await until(lambda: shared.has_left(CHILD, me))
    assert not shared.has_left(RUN, me)
    await channel.close()
    await shared.close()


class ProvenChannel:
    """A connection whose other end proved whose worker it is."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.sent: list[IpcMessage] = []

    def peer(self) -> None:
        return None

    def send(self, message: IpcMessage) -> None:
        self.sent.append(message)

    async def drain(self) -> None: ...

    async def receive_addressed(self) -> None:
        return None


async def test_the_worker_of_a_run_is_no_process_of_many(house: House) -> None:
    """It would get the runs of others, and what is sent to them."""
    me = processes.myself()
    hello = SharedHello(me["pid"], me["created"], [])
    for run, answer in ((RUN, StopWorker()), ("", Heartbeat())):
        channel: Any = ProvenChannel(run)
        await house.gateway.serve(channel, hello)
        assert answer in channel.sent


class Pool:
    """The share of a node: what is offered is for whoever has room."""

    def __init__(self) -> None:
        self.offered: list[str] = []

    def offer(self, head: Head) -> None:
        self.offered.append(head["run"])


CHILD = "c" * 22


@pytest.mark.parametrize(
    ("case", "offered"),
    [("new", [CHILD]), ("alone", []), ("here", []), ("cancelled", []), ("taken", []), ("gone", [])],
)
async def test_a_new_child_is_for_whichever_node_has_room(
    house: House, monkeypatch: pytest.MonkeyPatch, case: str, offered: list[str]
) -> None:
    """Its parent's node would have all of them before the others hear of one."""
    pool = Pool()
    if case != "alone":
        monkeypatch.setattr(house.gateway, "_share", pool)
    house.supervisor.known = {CHILD} if case == "here" else set()
    if case != "gone":
        house.store.create_run(new_run(CHILD, parent=RUN))
    if case == "cancelled":
        house.store.request(CHILD, [event("run.cancel_requested", reason="", by=RUN)])
    if case == "taken":
        house.store.claim(CHILD, processes.myself())
    house.have_worker()
    channel, _ = await house.hello()
    changed: list[str] = []
    house.feed.add_listener(changed.append)
    channel.send(ChildChanged(CHILD))
    attended = ("attend", CHILD)
    await until(lambda: bool(pool.offered) or attended in house.supervisor.calls)
    assert pool.offered == offered
    assert (attended in house.supervisor.calls) != bool(offered)
    assert changed == [CHILD]
    await channel.close()
