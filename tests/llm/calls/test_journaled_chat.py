"""Calls through the journal: no recorded call is ever sent twice (P3)."""

import asyncio
import errno
from dataclasses import replace

import pytest

from po_jupyter.config import Price
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import AnswerEmpty, AnswerTruncated, ModelKeyError, ModelUnavailable
from po_jupyter.llm.calls.journal import MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("fake:echo", (Message("user", "hi"),))
ONCE = CallRetry(max_attempts=1)


def world(provider, journal=None, **more):
    journal = journal or MemoryJournal()
    return JournaledChat(Providers({}, opened={"fake": provider}).get, journal, **more), journal


async def test_a_recorded_answer_is_replayed_and_nothing_is_sent():
    provider, done = FakeProvider(), []
    chat, journal = world(provider, on_done=done.append)
    first = await chat.scope("label", item=3).chat(REQUEST)
    again = await chat.scope("label", item=3).chat(REQUEST)
    assert again == first and again.replayed and not first.replayed
    assert len(provider.requests) == 1
    assert [d.replayed for d in done] == [False, True] and done[0].usage == done[1].usage
    assert [r["kind"] for r in journal.records] == ["intent", "response"]


async def test_every_part_of_the_key_asks_anew():
    provider = FakeProvider()
    chat, _ = world(provider)
    await chat.scope("label", item=3, attempt=1).chat(REQUEST)
    await chat.scope("label", item=4, attempt=1).chat(REQUEST)
    await chat.scope("label", item=3, attempt=2).chat(REQUEST)
    await chat.scope("other", item=3, attempt=1).chat(REQUEST)
    await chat.scope("label", item=3, attempt=1).chat(REQUEST, round=1)
    await chat.scope("label", item=3, attempt=1).chat(REQUEST, stage="critique")
    assert len(provider.requests) == 6


async def test_the_same_request_twice_in_one_attempt_is_two_calls_after_a_crash_too():
    provider = FakeProvider(["one", "two"])
    chat, _ = world(provider)
    for _ in range(2):  # the second pass is the process after the crash
        scope = chat.scope("label")
        assert [(await scope.chat(REQUEST)).text for _ in range(2)] == ["one", "two"]
    assert len(provider.requests) == 2


async def test_the_intent_is_durable_before_anything_is_sent():
    order = []

    class Slow(MemoryJournal):
        queues = False

        async def intent(self, key, meta):
            await asyncio.sleep(0.01)
            order.append("intent")
            await super().intent(key, meta)

    chat, _ = world(FakeProvider([lambda request: order.append("sent") or "ok"]), Slow())
    await chat.scope("label").chat(REQUEST)
    assert order == ["intent", "sent"]


async def test_an_intent_without_a_response_is_told_and_sent_once_more_for_each_crash():
    sent, unknown = asyncio.Event(), []

    class Hanging(FakeProvider):
        async def chat(self, request, *, on_text=None):
            sent.set()
            await asyncio.Event().wait()

    provider = Hanging()
    chat, journal = world(provider, on_unknown=unknown.append)
    for _ in range(2):
        scope = chat.scope("label")
        task = asyncio.ensure_future(scope.chat(REQUEST))
        await asyncio.wait_for(sent.wait(), 10)
        sent.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scope.in_flight == 1
    chat, _ = world(FakeProvider(), journal, on_unknown=unknown.append)
    await chat.scope("label").chat(REQUEST)
    assert [str(k) for k in unknown] == [f"label/-/1/0/inference/{REQUEST.request_hash}/0"] * 2
    assert [r.get("intents") for r in journal.records] == [0, 1, 2, None]


async def test_a_failed_call_fails_again_in_its_attempt_and_is_asked_anew_in_the_next():
    provider = FakeProvider([ModelUnavailable("down", details={"request_id": "r1"})])
    chat, journal = world(provider)
    with pytest.raises(ModelUnavailable):
        await chat.scope("label").chat(REQUEST, retry=ONCE)
    with pytest.raises(ModelUnavailable, match="down") as caught:
        await chat.scope("label").chat(REQUEST, retry=ONCE)
    assert caught.value.details["request_id"] == "r1" and caught.value.transient
    assert len(provider.requests) == 1
    assert (await chat.scope("label", attempt=2).chat(REQUEST)).text == "echo: hi"
    assert journal.records[1]["outcome"]["ok"] is False


async def test_tries_within_a_call_are_one_journaled_call():
    provider, waits = FakeProvider([ModelUnavailable("a"), ModelUnavailable("b")]), []
    chat, journal = world(provider)
    quick = CallRetry(initial_delay=0, max_delay=0)
    response = await chat.scope("label").chat(REQUEST, retry=quick, on_wait=lambda *a: waits.append(a))
    assert response.text == "echo: hi" and len(provider.requests) == 3
    assert [n for n, _, _ in waits] == [1, 2] and len(journal.records) == 2


async def test_a_scope_sums_up_what_its_calls_used_also_those_that_failed():
    """P12."""
    paid = {"input_tokens": 7, "output_tokens": 2, "cost": 0.5, "calls": 1}
    chat, _ = world(FakeProvider(["x", AnswerTruncated("cut", details={"usage": paid})]))
    for _ in range(2):
        scope = chat.scope("label")
        await scope.chat(REQUEST)
        with pytest.raises(AnswerTruncated):
            await scope.chat(REQUEST, stage="critique")
        assert scope.usage.calls == 2 and scope.usage.output_tokens == 3 and scope.usage.cost == 0.5


async def test_an_answer_that_came_is_recorded_even_when_the_caller_is_cancelled_meanwhile():
    """P12."""
    writing, go = asyncio.Event(), asyncio.Event()

    class Slow(MemoryJournal):
        queues = False

        async def response(self, key, answer, call):
            writing.set()
            await go.wait()
            await super().response(key, answer, call)

    chat, journal = world(FakeProvider(), Slow())
    task = asyncio.ensure_future(chat.scope("label").chat(REQUEST))
    await writing.wait()
    task.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [r["kind"] for r in journal.records] == ["intent", "response"]


async def test_a_missing_key_is_found_before_anything_is_recorded():
    journal = MemoryJournal()
    chat = JournaledChat(Providers({}).get, journal)
    with pytest.raises(ModelKeyError, match="OPENAI_API_KEY"):
        await chat.scope("label").chat(ChatRequest("openai:gpt-4o", (Message("user", "x"),)))
    assert journal.records == []


async def test_a_replay_hands_the_text_over_at_once():
    chat, _ = world(FakeProvider())
    await chat.scope("label").chat(REQUEST)
    pieces = []
    await chat.scope("label").chat(REQUEST, on_text=pieces.append)
    assert pieces == ["echo: hi"]


PRICES = PriceBook({"fake:echo": Price(input=2.0, output=4.0)})
BILLED = Usage(input_tokens=100, output_tokens=50, cost=None, calls=1)  # 0.0004 dollars
USED = BILLED.to_json()


class Unpriced(FakeProvider):
    """Its usage has no cost, as a vendor's."""

    async def chat(self, request, *, on_text=None):
        response = await super().chat(request, on_text=on_text)
        return replace(response, usage=response.usage.model_copy(update={"cost": None}))


async def test_calls_are_priced_by_the_runs_own_prices():
    """Two settings in one process: neither has the other's prices."""
    mine, _ = world(Unpriced(["one"]), prices=PRICES)
    other, _ = world(Unpriced(["one"]))
    usage = (await mine.scope("label").chat(REQUEST)).usage
    assert usage.cost == pytest.approx((usage.input_tokens * 2 + usage.output_tokens * 4) / 1e6)
    assert (await other.scope("label").chat(REQUEST)).usage.cost == 0.0


async def test_what_came_with_a_batch_is_recorded_at_a_batchs_rate_answers_and_errors():
    chat, journal = world(FakeProvider(), prices=PRICES)
    scope = chat.scope("label", item=1)
    answer = ChatResponse("hi", BILLED, "echo")
    response = await scope.record_batch_answer(scope.next_call(REQUEST), lambda request: answer, batch="b1")
    assert response.usage.cost == pytest.approx(0.0002)

    def cut(request):
        raise AnswerTruncated("cut", details={"usage": USED})

    with pytest.raises(AnswerTruncated) as caught:
        await scope.record_batch_answer(scope.next_call(REQUEST), cut, batch="b1")
    assert caught.value.usage["cost"] == pytest.approx(0.0002)
    assert scope.usage.cost == pytest.approx(0.0004) and scope.usage.calls == 2
    assert [r["outcome"]["ok"] for r in journal.records] == [True, False]
    again = chat.scope("label", item=1)
    assert (await again.chat(REQUEST)).replayed, "as one that was sent by itself"


async def test_a_try_that_broke_is_paid_for_with_the_call_and_is_told_before_the_next():
    """P12."""
    billed, broken = [], ModelUnavailable("half an answer", details={"usage": USED})

    async def on_again(error):
        billed.append(error)

    chat, journal = world(Unpriced([broken, "whole"]), prices=PRICES)
    scope = chat.scope("label")
    response = await scope.chat(REQUEST, retry=CallRetry(initial_delay=0), on_again=on_again)
    assert billed == [broken] and scope.usage == response.usage and response.usage.calls == 1
    assert response.usage.input_tokens > 100 and response.usage.cost > 0.0004
    assert [r["kind"] for r in journal.records] == ["intent", "response"]


async def test_a_call_that_ends_between_two_tries_is_withdrawn_with_what_it_used():
    """P3: nothing of it is in flight."""

    async def drain(seconds):
        raise Drained

    broken = ModelUnavailable("half an answer", details={"usage": USED})
    chat, journal = world(FakeProvider([broken]), prices=PRICES, sleep=drain)
    scope = chat.scope("label")
    with pytest.raises(Drained):
        await scope.chat(REQUEST)
    assert [r["kind"] for r in journal.records] == ["intent", "withdrawn"]
    assert (scope.in_flight, scope.usage) == (0, Usage())
    assert scope.take_withdrawn_usage().cost == pytest.approx(0.0004)
    assert scope.take_withdrawn_usage() == Usage()


async def test_an_answer_that_holds_nothing_is_neither_done_nor_kept_and_its_tokens_count():
    provider = FakeProvider(["<think>hm</think>", "", "yes"])
    chat, journal = world(provider)
    waits = []
    retry = CallRetry(max_attempts=3, initial_delay=0.001)
    scope = chat.scope("label")
    answer = await scope.chat(REQUEST, retry=retry, on_wait=lambda *wait: waits.append(wait[2]))
    assert answer.text == "yes" and [wait.code for wait in waits] == ["answer_empty"] * 2
    assert answer.usage.output_tokens > estimate("yes") and scope.usage == answer.usage

    chat, journal = world(FakeProvider(["", "\n", " "]))
    with pytest.raises(AnswerEmpty, match="ended without a text") as caught:
        await chat.scope("label").chat(REQUEST, retry=retry)
    assert caught.value.usage["calls"] == 1 and "NONE" in caught.value.hint
    with pytest.raises(AnswerEmpty):
        await chat.scope("label").chat(REQUEST, retry=retry)  # the record after a crash
    assert [record["kind"] for record in journal.records] == ["intent", "response"]


class NoPrices(PriceBook):
    """A price list that cannot be read: no descriptor is left for its file."""

    def cost_of(self, usage, ref):
        raise OSError(errno.EMFILE, "Too many open files", "prices.json")


async def test_an_answer_that_cannot_be_priced_is_recorded_and_has_no_price():
    """P3: nothing that can fail stands between an answer and its record."""

    class Vendor(FakeProvider):  # one that does not bill by itself
        async def chat(self, request, *, on_text=None):
            response = await super().chat(request, on_text=on_text)
            return replace(response, usage=response.usage.model_copy(update={"cost": None}))

    provider = Vendor(["paid for"])
    chat, _ = world(provider, prices=NoPrices())
    first = await chat.scope("label").chat(REQUEST)
    assert first.text == "paid for" and first.usage.cost is None
    assert (await chat.scope("label").chat(REQUEST)).replayed
    assert len(provider.requests) == 1


async def test_a_price_list_that_cannot_be_read_is_found_before_anything_is_sent():
    class Unreadable(PriceBook):
        def is_priced(self, ref):
            raise OSError(errno.EMFILE, "Too many open files", "prices.json")

    provider = FakeProvider()
    chat, journal = world(provider, prices=Unreadable())
    with pytest.raises(OSError, match="Too many open files"):
        await chat.scope("label").chat(REQUEST)
    assert provider.requests == [] and journal.records == []


async def test_an_answer_is_recorded_before_the_limiter_and_the_cache_hear_of_it():
    """P3: what fails there fails once the answer is safe."""

    class Failing:
        def enter(self, request, task):
            return self

        async def wait(self, request, task):
            return self

        def sends(self): ...

        def answered(self, response):
            raise OSError(errno.EMFILE, "Too many open files")

    provider = FakeProvider(["paid for"])
    chat, journal = world(provider, admission=Failing())
    with pytest.raises(OSError, match="Too many"):
        await chat.scope("label").chat(REQUEST)
    assert [r["kind"] for r in journal.records] == ["intent", "response"]
    assert (await chat.scope("label").chat(REQUEST)).text == "paid for"
    assert len(provider.requests) == 1


async def test_who_reads_along_cannot_end_an_answer():
    """P12: the answer is paid for and recorded, whatever becomes of those who watch."""
    seen = []

    def watch(piece):
        seen.append(piece)
        raise RuntimeError("the line is dead")

    provider = FakeProvider(["one two three"])
    chat, _ = world(provider)
    assert (await chat.scope("label").chat(REQUEST, on_text=watch)).text == "one two three"
    assert seen == ["one"]
