"""Calls that wait for a hub: as long as it takes, visibly and without an attempt."""

from __future__ import annotations

import pytest

from po_jupyter.errors import BudgetExceeded, ModelError, ModelRateLimited, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest(model="openai:gpt-5-mini", messages=(Message("user", "hello"),))
ONE = CallRetry(max_attempts=1)


class Hub:
    """A provider behind a gateway: it raises what it is given, then answers; `away` looks find it away."""

    name = "openai"

    def __init__(self, *errors: Exception, away: int = 0) -> None:
        self.errors, self.away, self.sent, self.looks = list(errors), away, 0, 0

    async def chat(self, request: ChatRequest, *, on_text: object = None) -> ChatResponse:
        self.sent += 1
        if self.errors:
            raise self.errors.pop(0)
        return ChatResponse("ok", Usage(calls=1, input_tokens=1, output_tokens=1))

    async def ready(self) -> bool:
        self.looks += 1
        return self.looks > self.away


async def ask(hub: Hub) -> tuple[ChatResponse, MemoryJournal, list[tuple[int, str]], list[float]]:
    journal, waits, slept = MemoryJournal(), [], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    chat = JournaledChat(lambda ref: hub, journal, sleep=sleep)
    scope = chat.scope("label")
    response = await scope.chat(
        REQUEST, retry=ONE, on_wait=lambda attempt, delay, error: waits.append((attempt, error.waits_for))
    )
    return response, journal, waits, slept


def waiting(what: str, *, billed: bool = False) -> ModelError:
    error = ModelUnavailable("away", outcome="unknown" if billed else None)
    error.waits_for = what
    return error


async def test_a_hub_that_is_away_costs_no_attempt_and_is_seen():
    hub = Hub(*[waiting("hub") for _ in range(20)], away=3)
    response, _journal, waits, slept = await ask(hub)
    assert response.text == "ok"
    assert hub.sent == 21
    assert len(waits) == 20
    assert all(what == "hub" for _, what in waits)
    assert max(slept) <= 15


async def test_nothing_is_sent_before_the_gateway_answers():
    hub = Hub(waiting("token"), away=5)
    await ask(hub)
    assert (hub.sent, hub.looks) == (2, 6)


async def test_a_short_limit_is_waited_for_as_long_as_it_says():
    error = ModelRateLimited("20 calls a minute", retry_after=7.0)
    error.waits_for = "limit"
    hub = Hub(error)
    _, _, waits, slept = await ask(hub)
    assert waits == [(1, "limit")]
    assert slept[0] >= 7.0
    assert hub.looks == 0


async def test_a_call_that_may_be_paid_for_has_an_intent_of_its_own_beside_the_next():
    hub = Hub(waiting("hub", billed=True))
    _, journal, _, _ = await ask(hub)
    assert [record["kind"] for record in journal.records] == ["intent", "intent", "response"]
    assert [record["intents"] for record in journal.records[:2]] == [0, 1]


async def test_a_spent_budget_ends_the_call_and_leaves_no_intent():
    hub = Hub(BudgetExceeded("the budget on the hub is spent"))
    journal = MemoryJournal()
    scope = JournaledChat(lambda ref: hub, journal).scope("label")
    with pytest.raises(BudgetExceeded):
        await scope.chat(REQUEST, retry=CallRetry())
    assert hub.sent == 1
    assert scope.in_flight == 0
    assert scope.take_withdrawn_usage() == Usage()
    assert [record["kind"] for record in journal.records] == ["intent", "withdrawn"]
