"""G3: a worker's end of the limiter, with a line that is a list."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import ModelRateLimited, ModelRefused
from po_jupyter.ipc.messages import FROM_ORCHESTRATOR, TO_ORCHESTRATOR, Welcome
from po_jupyter.ipc.rate_messages import (
    RateHistory,
    RatePermitDropped,
    RatePermitGranted,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RateReport,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.run.rate_limit import RateLimit
from po_jupyter.model.run.usage import Usage
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer
from po_jupyter.worker.rate_limit_client import RateLimitClient

MODEL = "openai:gpt-4o-mini"
REQUEST = ChatRequest(MODEL, (Message("user", "hello there"),), max_tokens=9)
ANSWER = ChatResponse("hi", Usage(input_tokens=5, output_tokens=2, calls=1))
TOLD = {"requests": (60, 59, 1.0)}


class Line:
    """What a worker says, as it is said; with `to`, to a limiter."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.connected = True
        self.to: RateLimitServer | None = None

    def send(self, message: IpcMessage) -> None:
        if self.connected:
            self.said.append((message.op, message.to_json()))
            if self.to is not None:
                self.to.receive("run", TO_ORCHESTRATOR.decode(message.encode()))

    def connect_now(self) -> None:
        """It is connected."""


class Back:
    """The orchestrator's end of the same line."""

    def __init__(self, door: RateLimitClient) -> None:
        self.door = door

    def send(self, message: IpcMessage) -> None:
        self.door.receive(FROM_ORCHESTRATOR.decode(message.encode()))


def pair(door: RateLimitClient, line: Line, settings: Settings) -> RateLimitServer:
    limits = RateLimitServer(settings)
    line.to = limits
    door.welcome(Welcome(False, limits.connect("run", Back(door))))
    return limits


async def ask(door: RateLimitClient, request: ChatRequest = REQUEST) -> Any:
    return door.enter(request, "t") or await door.wait(request, "t")


async def test_what_nothing_limits_says_nothing() -> None:
    """G3: a key without a limit costs no round trip."""
    line = Line()
    door = RateLimitClient(line, Settings())
    for _ in range(100):
        passed = door.enter(REQUEST, "t")
        assert passed is not None
        passed.answered(ANSWER)
    assert line.said == []


async def test_headers_that_teach_are_told_once_with_all_that_went_before() -> None:
    line = Line()
    settings = Settings()
    door = RateLimitClient(line, settings)
    for _ in range(5):
        door.enter(REQUEST, "t").answered(ANSWER)
    limits = pair(door, line, settings)
    passes = [door.enter(REQUEST, "t") for _ in range(3)]
    passes[0].answered(ChatResponse("hi", ANSWER.usage, limits=TOLD))
    (op, recall), (used, _) = line.said
    assert (op, used) == ("rate.recall", "rate.used")
    said = recall["models"][MODEL]
    assert sum(row[1] for row in said["past"]) == 5 and len(said["open"]) == 3
    await asyncio.sleep(0)
    assert door.enter(REQUEST, "t") is None, "from now on it asks"
    passes[1].answered(ChatResponse("hi", ANSWER.usage, limits=TOLD))
    assert [op for op, _ in line.said] == ["rate.recall", "rate.used", "rate.used"]
    assert limits.limits() == {MODEL: {"requests": 60}}
    passes[2].lost()
    (await ask(door)).answered(ANSWER)
    limits.close()


async def test_a_refusal_pauses_the_other_calls_of_the_model() -> None:
    """P7."""
    line, settings = Line(), Settings()
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    first = door.enter(REQUEST, "t")
    begun = asyncio.get_running_loop().time()
    first.failed(ModelRateLimited("429", retry_after=0.3))
    await asyncio.sleep(0)
    assert door.enter(REQUEST, "t") is None
    passed = await door.wait(REQUEST, "t")
    assert asyncio.get_running_loop().time() - begun >= 0.29
    passed.unused()
    limits.close()


@pytest.mark.integration
async def test_what_it_waits_for_is_told_now_and_then_and_taken_back() -> None:
    said: list[Any] = []
    line = Line()
    settings = Settings(rate_limits={MODEL: {"requests": 1}}, rate_window=1.0)
    door = RateLimitClient(line, settings, on_wait=lambda *words: said.append(words))
    limits = pair(door, line, settings)
    (await ask(door)).answered(ANSWER)
    (await ask(door)).answered(ANSWER)
    async with asyncio.timeout(5):
        while len(said) < 2:
            await asyncio.sleep(0.05)
    (task, reason, seconds), over = said
    assert (task, reason) == ("t", f"{MODEL} (requests per 1 s)") and 0 < seconds < 1.2
    assert over == ("t", None, None)
    limits.close()


async def test_a_drain_ends_every_wait_and_lets_nothing_new_go() -> None:
    line = Line()
    settings = Settings(rate_limits={"openai": {"concurrency": 1}})
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    held = await ask(door)
    waits = [asyncio.create_task(door.wait(REQUEST, "t")) for _ in range(3)]
    await asyncio.sleep(0.01)
    door.drain()
    assert all(isinstance(e, Drained) for e in await asyncio.gather(*waits, return_exceptions=True))
    with pytest.raises(Drained):
        door.enter(REQUEST, "t")
    held.answered(ANSWER)
    await asyncio.sleep(0)
    assert not limits._limiter.busy
    limits.close()


async def test_a_wait_goes_on_with_the_next_orchestrator() -> None:
    line = Line()
    settings = Settings(rate_limits={"openai": {"concurrency": 1}})
    door = RateLimitClient(line, settings)
    old = pair(door, line, settings)
    held = await ask(door)
    wait = asyncio.create_task(door.wait(REQUEST, "t"))
    await asyncio.sleep(0.01)
    old.close()
    line.connected, line.to = False, None
    await asyncio.sleep(0.01)
    line.connected = True
    new = pair(door, line, settings)
    await asyncio.sleep(0.01)
    assert not wait.done(), "the call under way was told to the new one"
    held.answered(ANSWER)
    (await wait).answered(ANSWER)
    assert new._limiter._keys["openai"].in_flight == 0
    new.close()


async def test_an_answer_that_went_astray_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("po_jupyter.worker.rate_limit_client._RETRY_INTERVAL", 0.05)
    line = Line()
    settings = Settings(rate_limits={"openai": {"concurrency": 1}})
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    line.connected = False
    wait = asyncio.create_task(ask(door))
    await asyncio.sleep(0.01)
    line.connected = True
    async with asyncio.timeout(2):
        (await wait).answered(ANSWER)
    limits.close()


async def test_a_call_that_never_fits_is_refused() -> None:
    line = Line()
    settings = Settings(rate_limits={"openai": {"input_tokens": 100}})
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    with pytest.raises(ModelRefused, match="100 input tokens per minute"):
        await ask(door, ChatRequest(MODEL, (Message("user", "word " * 1000),)))
    (await ask(door)).unused()
    assert limits._limiter._keys["openai"].in_flight == 0
    limits.close()


async def test_anthropic_counts_no_tokens_of_its_cache() -> None:
    """ "Rate limits", Anthropic: cache reads do not count towards input tokens per minute."""
    line = Line()
    settings = Settings(rate_limits={"anthropic": {"input_tokens": 1000}})
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    request = ChatRequest("anthropic:claude-haiku-4-5", REQUEST.messages, max_tokens=9)
    usage = Usage(input_tokens=900, cached_tokens=890, output_tokens=2, calls=1)
    (await ask(door, request)).answered(ChatResponse("hi", usage))
    assert line.said[-1][1]["input"] == 10
    limits.close()


@pytest.mark.parametrize(
    "message",
    [
        RatePermitDropped(7),
        RatePermitUsed(7, -1.0, input=3),
        RatePermitRefused(7, MODEL, None, limits={"requests": "many"}),
        RateHistory({MODEL: []}),
        RateHistory({MODEL: {"past": [[1]], "open": []}}),
    ],
)
async def test_nonsense_of_a_worker_hurts_nobody_else(message: RateReport) -> None:
    """User code lives in workers."""
    line = Line()
    settings = Settings(rate_limits={"openai": {"concurrency": 1}})
    door = RateLimitClient(line, settings)
    limits = pair(door, line, settings)
    limits.receive("other", message)
    (await ask(door)).answered(ANSWER)
    (await ask(door)).answered(ANSWER)
    limits.close()


async def test_a_word_that_was_lost_is_said_again(tmp_path: Path) -> None:
    """G3: a full channel drops words (`link.Channel.send`); a worker asks again, and does not wait for ever."""
    said: list[str] = []

    class Peer:
        def send(self, message: IpcMessage) -> None:
            assert isinstance(message, RatePermitGranted)
            said.append(f"{message.op} {message.id}")

    rates = RateLimitServer(Settings(data_dir=tmp_path, rate_limits={"openai": RateLimit(requests=1)}))
    rates.connect("run", Peer())
    for id in (1, 1, 2):
        rates.receive("run", RatePermitRequest(id, MODEL, input=1, most=1))
        for _ in range(3):
            await asyncio.sleep(0)
    assert said == ["rate.go 1", "rate.go 1"], "the other call waits"
    rates.close()
