"""Outcomes of calls: recorded whatever happens to the caller, and summed."""

import asyncio

import pytest

from po_jupyter.config import Price
from po_jupyter.errors import AnswerTruncated, ModelRefused, ModelUnavailable
from po_jupyter.llm.calls.journal import CallDone, CallKey, MemoryJournal
from po_jupyter.llm.calls.pending_call import CallOutcomes, PendingCall, with_broken_tries
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("openai:mine", (Message("user", "hi"),))
KEY = CallKey("label", None, 1, 0, "inference", REQUEST.request_hash)
PRICES = PriceBook({"openai:mine": Price(input=2**20, output=0)})
DONE = CallDone(KEY, Usage(input_tokens=5, cost=0.1, calls=1), REQUEST.model, 0.5, False)
OK = {"ok": True, "response": {"text": "hi"}}


class SlowJournal(MemoryJournal):
    """Writes when it is told to."""

    queues = False

    def __init__(self):
        super().__init__()
        self.writing, self.go = asyncio.Event(), asyncio.Event()

    async def response(self, key, outcome, call):
        self.writing.set()
        await self.go.wait()
        await super().response(key, outcome, call)


async def test_a_record_is_written_to_its_end_when_the_caller_is_cancelled():
    """P12: it may have been paid for; the cancellation is passed on after it."""
    journal = SlowJournal()
    task = asyncio.ensure_future(CallOutcomes(journal, PRICES, None).record(OK, DONE))
    await journal.writing.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    journal.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [r["kind"] for r in journal.records] == ["response"]


async def test_recorded_and_replayed_calls_are_summed_and_told():
    told = []
    outcomes = CallOutcomes(MemoryJournal(), PRICES, told.append)
    await outcomes.record(OK, DONE)
    outcomes.replayed(DONE)
    assert outcomes.usage == DONE.usage + DONE.usage and told == [DONE, DONE]


@pytest.mark.parametrize(
    ("error", "usage"),
    [
        (ModelRefused("no"), Usage(calls=1)),
        (ModelUnavailable("late", outcome="unknown"), Usage(calls=1, unknown=1, cost=0.0)),
        (
            AnswerTruncated("cut", details={"usage": Usage(calls=1, input_tokens=10**6, cost=None).to_json()}),
            Usage(calls=1, input_tokens=10**6, cost=2.0**20),
        ),
    ],
)
def test_what_a_failed_call_used(error, usage):
    """A refused request was not paid for, a truncated answer was, and of a timeout nobody knows."""
    assert CallOutcomes(MemoryJournal(), PRICES, None).usage_of_error(error, REQUEST) == usage


async def test_an_error_is_recorded_with_the_tries_that_broke_before_it():
    journal = MemoryJournal()
    outcomes = CallOutcomes(journal, PRICES, None)
    error = ModelUnavailable("down")
    broken = [Usage(calls=1, input_tokens=7, cost=0.5)]
    await outcomes.record_error(PendingCall(KEY, REQUEST), error, 1.5, broken=broken)
    assert outcomes.usage.calls == 1 and outcomes.usage.input_tokens == 7
    assert error.usage == outcomes.usage.to_json()
    assert journal.records[0]["outcome"]["ok"] is False


def test_tries_that_broke_are_one_call_and_one_bill():
    usage = with_broken_tries(Usage(calls=1, cost=0.1), [Usage(calls=1, cost=0.2), Usage(calls=1, cost=0.3)])
    assert usage.calls == 1 and usage.cost == pytest.approx(0.6)
    assert with_broken_tries(usage, []) is usage
