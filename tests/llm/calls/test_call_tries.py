"""P3: wherever a call is stopped, its passes are given back, and its intents say what may have been billed."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import (
    BudgetExceeded,
    ModelError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
    StoreError,
)
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("fake:echo", (Message("user", "hi"),))
TRIES = {
    "answered": [],
    "429": [ModelRateLimited("slowly")],
    "timeout": [ModelUnavailable("late", details={"outcome": "unknown"})],
    "broken": [ModelUnavailable("half", details={"usage": Usage(calls=1, input_tokens=3).to_json()})],
    "429, timeout": [ModelRateLimited("slowly"), ModelUnavailable("late", details={"outcome": "unknown"})],
    "timeout, 429": [ModelUnavailable("late", details={"outcome": "unknown"}), ModelRateLimited("slowly")],
    "refused": [ModelRefused("no")],
}


class Stop:
    """Counts the places where something may come in between; raises at one of them."""

    def __init__(self, at: int, what: BaseException | None) -> None:
        self.left, self.what, self.reached = at, what, False

    async def here(self) -> None:
        await asyncio.sleep(0)
        self.left -= 1
        if self.left == 0:
            self.reached = True
            if self.what is not None:
                raise self.what
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)


class Pass:
    def __init__(self, open_: set[Pass]) -> None:
        self.open, self.sent = open_, False
        open_.add(self)

    def sends(self) -> None:
        assert self in self.open
        self.sent = True

    def over(self, *_: object) -> None:
        self.open.remove(self)  # once, and only once
        assert self.sent

    answered = failed = lost = over

    def unused(self) -> None:
        self.open.remove(self)
        assert not self.sent


class World:
    """A limiter that makes everybody wait, a journal that writes in its own time, and a server."""

    def __init__(self, fails: list[ModelError], stop: Stop, where: str) -> None:
        self.fails, self.stop, self.where = list(fails), stop, where
        self.passes: set[Pass] = set()
        self.journal = Slow(self)
        self.unknown = 0  # requests that were sent, and what came of them nobody knows

    async def at(self, where: str) -> None:
        if self.stop.what is None or self.where == where:
            await self.stop.here()

    def enter(self, request: ChatRequest, task: str) -> None:
        return None

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        await self.at("limiter")
        return Pass(self.passes)

    async def chat(self, request: ChatRequest, *, on_text: object = None) -> ChatResponse:
        self.unknown += 1
        await self.at("server")
        if self.fails:
            error = self.fails.pop(0)
            self.unknown -= not error.may_be_billed
            raise error
        self.unknown -= 1
        return ChatResponse("ok", Usage(calls=1, input_tokens=1, output_tokens=1))

    async def sleep(self, seconds: float) -> None:
        await self.at("pause")

    async def again(self, error: ModelError) -> None:
        await self.at("budget")


class Slow(MemoryJournal):
    """A record that is on its way becomes durable, whoever waits for it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    async def intent(self, key: str, meta: dict[str, object]) -> None:
        if self.world.stop.what is not None:
            await self.world.at("intent")  # a disk that is full writes nothing
        await super().intent(key, meta)
        if self.world.stop.what is None:
            await self.world.at("intent")


async def go(fails: list[ModelError], stop: Stop, where: str = "") -> None:
    world = World(fails, stop, where)
    chat = JournaledChat(lambda ref: world, world.journal, admission=world, sleep=world.sleep)
    scope = chat.scope("label")
    call = scope.next_call(REQUEST)
    retry = CallRetry(max_attempts=3, initial_delay=0)
    asking = asyncio.ensure_future(scope.send(call, retry=retry, on_again=world.again))
    await asyncio.wait([asking])
    kinds = Counter(record["kind"] for record in world.journal.records)
    answered = kinds["response"]
    assert world.passes == set(), "every pass is given back"
    assert kinds["intent"] - kinds["withdrawn"] - answered == world.unknown, "what is open may have been billed"
    assert answered <= 1
    told = sum(record["kind"] == "intent" and record["intents"] > 0 for record in world.journal.records)
    assert scope.in_flight + told == world.unknown, "each is counted once"
    assert answered or asking.cancelled() or asking.exception() is stop.what


@pytest.mark.parametrize("tries", TRIES)
async def test_a_cancel_at_any_moment(tries: str) -> None:
    """A stage timeout, or a person."""
    for at in range(1, 100):
        stop = Stop(at, None)
        await go(TRIES[tries], stop)
        if not stop.reached:
            assert at > 3
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("limiter", Drained()),
        ("pause", Drained()),
        ("intent", StoreError("the disk is full")),
        ("budget", BudgetExceeded("spent")),
    ],
)
async def test_what_ends_a_wait(tries: str, where: str, what: BaseException) -> None:
    """A drain, a full disk, a budget."""
    for at in range(1, 10):
        stop = Stop(at, what)
        await go(TRIES[tries], stop, where)
        if not stop.reached:
            return
