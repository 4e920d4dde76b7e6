"""G3, P3, P7: every request goes through the door, retries too, and a wait leaves nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from po_jupyter.errors import ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.pipeline import CallRetry

REQUEST = ChatRequest("fake:echo", (Message("user", "hi"),))
QUICK = CallRetry(max_attempts=3, initial_delay=0.001, max_delay=0.001)


class Ended(BaseException):
    """As a drain: no Exception."""


class Door:
    """Lets go when told, and writes down what came of each pass."""

    def __init__(self, open: bool = True) -> None:
        self.said: list[str] = []
        self.gate = asyncio.Event()
        self.arrived = asyncio.Event()
        self.refuse: BaseException | None = None
        if open:
            self.gate.set()

    def enter(self, request, task):
        return None

    async def wait(self, request, task):
        self.said.append("waits")
        self.arrived.set()
        if self.refuse is not None:
            raise self.refuse
        await self.gate.wait()
        self.said.append("goes")
        return self

    def sends(self):
        self.said.append("sends")

    def answered(self, response):
        self.said.append("answered")

    def failed(self, error):
        self.said.append(error.code)

    def lost(self):
        self.said.append("lost")

    def unused(self):
        self.said.append("unused")


def world(replies, door, journal=None, **more):
    journal = journal or MemoryJournal()
    provider = FakeProvider(replies)
    return JournaledChat(
        Providers({}, opened={"fake": provider}).get, journal, admission=door, **more
    ), provider


async def test_each_request_of_a_call_is_let_go_by_itself():
    """P7: a retry pays too."""
    door = Door()
    chat, provider = world([ModelRateLimited("no"), ModelUnavailable("no"), "yes"], door)
    answer = await chat.scope("t").chat(REQUEST, retry=QUICK)
    assert answer.text == "yes" and len(provider.requests) == 3
    assert door.said == [
        "waits", "goes", "sends", "model_rate_limited", "waits", "goes", "sends", "model_unavailable",
        "waits", "goes", "sends", "answered",
    ]  # fmt: skip
    again = await chat.scope("t").chat(REQUEST, retry=QUICK)
    assert again.replayed and len(door.said) == 12, "what is recorded asks nobody"


async def test_a_wait_that_is_cancelled_was_never_about_to_be_sent():
    """P3: no intent, no unknown outcome, nothing in flight."""
    door, journal = Door(open=False), MemoryJournal()
    chat, provider = world([], door, journal)
    scope = chat.scope("t")
    call = asyncio.create_task(scope.chat(REQUEST))
    await door.arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert journal.records == [] and scope.in_flight == 0 and provider.requests == []


async def test_a_wait_before_a_retry_that_is_ended_withdraws_the_intent():
    """P3: every try was refused, so nothing came of it: the next worker sends it as if for the first time."""
    door, journal = Door(), MemoryJournal()
    chat, _ = world([ModelRateLimited("no"), "yes"], door, journal)
    scope = chat.scope("t")

    def close(attempt, delay, error):
        door.refuse = Ended()

    with pytest.raises(Ended):
        await scope.chat(REQUEST, retry=QUICK, on_wait=close)
    assert [r["kind"] for r in journal.records] == ["intent", "withdrawn"]
    assert scope.in_flight == 0 and scope.usage.calls == 0
    door.refuse, unknown = None, []
    chat, _ = world(["yes"], door, journal, on_unknown=unknown.append)
    assert (await chat.scope("t").chat(REQUEST)).text == "yes"
    assert unknown == []


async def test_a_request_under_way_that_is_cancelled_stays_an_unknown_outcome():
    """P3: it may have arrived."""

    class Hanging(FakeProvider):
        async def chat(self, request, *, on_text=None):
            await asyncio.Event().wait()

    door, journal = Door(), MemoryJournal()
    chat = JournaledChat(Providers({}, opened={"fake": Hanging()}).get, journal, admission=door)
    scope = chat.scope("t")
    call = asyncio.create_task(scope.chat(REQUEST))
    while "goes" not in door.said:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [r["kind"] for r in journal.records] == ["intent"] and scope.in_flight == 1
    assert door.said[-1] == "lost"


async def test_an_intent_that_cannot_be_written_gives_the_pass_back():
    class Full(MemoryJournal):
        async def intent(self, key, meta):
            raise OSError("disk full")

    door = Door()
    chat, _ = world([], door, Full())
    with pytest.raises(OSError, match="disk full"):
        await chat.scope("t").chat(REQUEST)
    assert door.said[-1] == "unused"


async def test_a_call_that_never_fits_fails_before_anything_is_recorded():
    """P11: one clear error, and nothing changed."""
    door, journal = Door(), MemoryJournal()
    door.refuse = ModelRefused("larger than everything")
    chat, _ = world([], door, journal)
    with pytest.raises(ModelRefused, match="larger than everything"):
        await chat.scope("t").chat(REQUEST)
    assert journal.records == []


async def test_waits_are_told_apart_from_work():
    """R2.2: waiting for a limit does not count towards the stage's timeout."""
    inside = []

    @contextmanager
    def waiting():
        inside.append("in")
        yield
        inside.append("out")

    door = Door()
    chat, _ = world([ModelRateLimited("no"), "yes"], door)
    await chat.scope("t").chat(REQUEST, retry=QUICK, waiting=waiting)
    assert inside == ["in", "out", "in", "out"]
