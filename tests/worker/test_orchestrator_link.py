"""A worker's link, against an orchestrator that is a list: what is kept, joined, sent again, and when it drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.calls.attempt_calls import StreamedText
from po_jupyter.errors import ModelRefused, Unavailable
from po_jupyter.ipc.channel import Channel, Listener
from po_jupyter.ipc.messages import (
    CancelRequested,
    DrainWorker,
    Heartbeat,
    LogGrew,
    LookAtLog,
    ResourceProgress,
    ResourceRequest,
    ResourceResponse,
    RestingChanged,
    StopWorker,
    StoreFailure,
    TextPiece,
    WatchedChanged,
    Welcome,
    WorkerFinished,
    WorkerHello,
)
from po_jupyter.ipc.rate_messages import LimitedModels
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.worker.orchestrator_link import OrchestratorLink
from po_jupyter.worker.run_link import LinkHandlers, RunLink

pytestmark = pytest.mark.integration

WELCOME = Welcome(True, {"epoch": "e", "limited": []})


class FakeOrchestrator:
    """Welcomes a worker, keeps what it sends, and sends what a test says."""

    def __init__(self, address: Path, *greetings: IpcMessage) -> None:
        self.received: list[IpcMessage] = []
        self.channel: Channel | None = None
        self.stopped = False  # as by SIGSTOP: connections come in, and nothing is answered
        self._greetings = greetings
        self._listener = Listener(address, self._serve)
        self.start = self._listener.start
        self.close = self._listener.close

    async def _serve(self, channel: Channel, first: IpcMessage) -> None:
        self.received.append(first)
        self.channel = channel
        if not self.stopped:
            for message in (WELCOME, *self._greetings):
                channel.send(message)
        while (message := await channel.receive()) is not None:
            self.received.append(message)

    async def send(self, message: IpcMessage) -> None:
        await until(lambda: self.channel is not None)
        assert self.channel is not None
        self.channel.send(message)

    async def hears(self, kind: type[IpcMessage], times: int = 1) -> Any:
        """The last message of that kind, once there are so many."""
        await until(lambda: len(self.of(kind)) >= times)
        return self.of(kind)[-1]

    def of(self, kind: type[IpcMessage]) -> list[Any]:
        return [message for message in self.received if isinstance(message, kind)]


async def until(true: Callable[[], bool], patience: float = 5.0) -> None:
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.005)


class StoppingLink(RunLink):
    """A link that writes down how often it was told to stop."""

    stops: list[str]


@asynccontextmanager
async def linked(address: Path, **more: Any) -> AsyncIterator[StoppingLink]:
    """A started link of the run `r` with fence 3."""
    settings = Settings(**{"heartbeat": 0.05, "lease_ttl": 5.0, "orphan_timeout": 60.0, **more})
    process = OrchestratorLink(address, settings, eager=True)
    stops: list[str] = []
    link = StoppingLink(process, "r", stop=lambda: stops.append("stop"))
    link.stops = stops
    link.start(3)
    try:
        yield link
    finally:
        link.close()
        await process.close()


def recorder(calls: list[Any]) -> LinkHandlers:
    """Handlers that write down what they were called for."""
    return LinkHandlers(
        look=lambda: calls.append("look"),
        drain=lambda: calls.append("drain"),
        welcome=calls.append,
        rates=calls.append,
    )


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.sock"


@pytest.fixture
async def orchestrator(address: Path) -> AsyncIterator[FakeOrchestrator]:
    fake = FakeOrchestrator(address)
    await fake.start()
    yield fake
    await fake.close()


async def test_what_came_before_anybody_listened_is_handled_then_in_its_order(address: Path) -> None:
    """DESIGN 5: a drain that arrives while the worker reads its log is not lost."""
    limited = LimitedModels(["openai"])
    fake = FakeOrchestrator(address, LookAtLog(), limited, DrainWorker(), Heartbeat(), WatchedChanged(False))
    await fake.start()
    calls: list[Any] = []
    async with linked(address) as link:
        await until(lambda: not link.watched)  # so all of it has arrived
        link.listen(recorder(calls))
        assert calls == [WELCOME, "look", limited, "drain"]
        await fake.send(CancelRequested())
        await until(lambda: len(calls) == 5)
        assert calls[-1] == "look"
        link.deliver(DrainWorker())  # as SIGTERM does
        assert calls[-1] == "drain"
    await fake.close()


async def test_a_signal_before_anybody_listens_is_kept_without_any_orchestrator(address: Path) -> None:
    calls: list[Any] = []
    async with linked(address) as link:
        link.deliver(DrainWorker())
        link.listen(recorder(calls))
    assert calls == ["drain"]


async def test_a_worker_whose_run_was_taken_stops_at_once(
    address: Path, orchestrator: FakeOrchestrator
) -> None:
    """P2: also while it loads."""
    async with linked(address) as link:
        await orchestrator.send(StopWorker())
        await until(lambda: link.stops == ["stop"])


async def test_it_says_who_it_is_what_it_committed_and_how_it_ends(
    address: Path, orchestrator: FakeOrchestrator
) -> None:
    async with linked(address) as link:
        hello = await orchestrator.hears(WorkerHello)
        assert (hello.run, hello.fence) == ("r", 3)
        await orchestrator.hears(RestingChanged)
        for n in range(1, 30):
            link.committed({"n": n, "offset": 2 * n, "state": "running"})
        assert await orchestrator.hears(LogGrew) == LogGrew(29, 58, "running")
        assert len(orchestrator.of(LogGrew)) == 1, "told now and then, the last always"
        link.rest(True)
        link.rest(True)
        await orchestrator.hears(Heartbeat, times=2)
        assert [m.on for m in orchestrator.of(RestingChanged)] == [False, True]
        await link.finished("done")
        assert await orchestrator.hears(WorkerFinished) == WorkerFinished("done")


async def test_a_worker_that_cannot_write_says_why(address: Path, orchestrator: FakeOrchestrator) -> None:
    async with linked(address) as link:
        await until(lambda: link.connected)
        await link.store_failed("the disk is full", "Make room.")
        assert await orchestrator.hears(StoreFailure) == StoreFailure("the disk is full", "Make room.")


@pytest.mark.parametrize("started", [False, True])
async def test_a_worker_that_fails_before_it_is_connected_says_why_too(
    address: Path, orchestrator: FakeOrchestrator, started: bool
) -> None:
    """The disk may be full already when it claims its run or reads its log: people are told the reason."""
    process = OrchestratorLink(address, Settings())
    link = RunLink(process, "r")
    if started:
        link.start(3)
    await link.store_failed("the disk is full", "Make room.")
    assert await orchestrator.hears(StoreFailure) == StoreFailure("the disk is full", "Make room.")
    await process.close()


async def test_pieces_of_one_answer_are_joined_and_only_sent_while_somebody_watches(
    address: Path, orchestrator: FakeOrchestrator
) -> None:
    def piece(text: str, round: int = 1) -> StreamedText:
        return {"task": "t", "text": text, "round": round, "attempt": 2}

    async with linked(address) as link:
        for text in ("a", "b", "c"):
            link.text(piece(text))
        link.text(piece("again", round=2))
        await orchestrator.hears(TextPiece, times=2)
        joined = [TextPiece("t", "abc", 1, attempt=2), TextPiece("t", "again", 2, attempt=2)]
        assert orchestrator.of(TextPiece) == joined
        await orchestrator.send(WatchedChanged(False))
        await until(lambda: not link.watched)
        link.text(piece("unseen"))
        await orchestrator.hears(Heartbeat, times=3)
        assert orchestrator.of(TextPiece) == joined


async def test_a_resource_is_requested_again_of_the_next_orchestrator(address: Path) -> None:
    first = FakeOrchestrator(address)
    await first.start()
    progress: list[str] = []
    async with linked(address) as link:
        waiting = asyncio.create_task(link.request("local_model", progress.append, model="local:m"))
        request = await first.hears(ResourceRequest)
        assert request == ResourceRequest(1, "local_model", "local:m")
        await first.send(ResourceProgress(1, "half of it"))
        await until(lambda: progress == ["half of it"])
        await first.close()
        second = FakeOrchestrator(address)
        await second.start()
        assert await second.hears(ResourceRequest) == request
        await second.send(ResourceResponse(9, "http://other", "k"))
        await second.send(ResourceResponse(1, "http://here", "k"))
        await second.send(ResourceResponse(1, "http://twice", "k"))
        assert (await waiting).base_url == "http://here"
        refused = asyncio.create_task(link.request("local_model", progress.append, model="local:m"))
        await second.hears(ResourceRequest, times=2)
        await second.send(ResourceResponse(2, error=ModelRefused("no such model").to_json()))
        with pytest.raises(ModelRefused, match="no such model"):
            await refused
        await second.close()


async def test_without_an_orchestrator_it_drains_and_requests_end(address: Path) -> None:
    """DESIGN 5: nothing spends unseen."""
    calls: list[Any] = []
    async with linked(address, orphan_timeout=0.3) as link:
        link.listen(recorder(calls))
        with pytest.raises(Unavailable, match="no orchestrator any more"):
            await link.request("local_model", calls.append, model="local:m")
        assert calls == ["drain"]


async def test_an_orchestrator_that_says_nothing_any_more_is_none(
    address: Path, orchestrator: FakeOrchestrator
) -> None:
    """A stopped process keeps its sockets."""
    calls: list[Any] = []
    async with linked(address, lease_ttl=0.3, orphan_timeout=0.6) as link:
        link.listen(recorder(calls))
        await until(lambda: calls == [WELCOME])
        orchestrator.stopped = True
        await until(lambda: calls == [WELCOME, "drain"])
        assert len(orchestrator.of(WorkerHello)) > 1, "it looked for another one first"
