"""The calls of a row in a batch: an answer is used once, for the request that it belongs to."""

from __future__ import annotations

import pytest

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.maps.batches.row_calls import BatchAnswer, BatchCalls, NeedsAnswer, failed_answer
from po_jupyter.engine.ports import ModelCalls, Observer
from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.pipeline.pipeline import Task
from tests.support.maps import ANSWER_USAGE, MODEL, FakeCalls

REQUEST = ChatRequest(MODEL, (Message("user", "x"),))
FRAME = Frame(Task(name="m", prompt="x"), index=0)


def answer(stage: str | None = "inference", round_: int = 0) -> BatchAnswer:
    return BatchAnswer("po1", stage, round_, lambda request: ChatResponse("good", ANSWER_USAGE, request.model))


def calls_with(given: BatchAnswer | None) -> BatchCalls:
    return BatchCalls(FakeCalls(lambda request: "sent"), Observer(), given)


async def test_without_an_answer_the_request_is_what_the_row_needs() -> None:
    calls: ModelCalls = calls_with(None)
    with pytest.raises(NeedsAnswer) as caught:
        await calls.chat(REQUEST, stage="inference", frame=FRAME)
    assert (caught.value.request, caught.value.stage, caught.value.round) == (REQUEST, "inference", 0)


async def test_an_answer_is_used_once() -> None:
    calls = calls_with(answer())
    assert (await calls.chat(REQUEST, stage="inference", frame=FRAME)).text == "good"
    assert calls.fresh == ANSWER_USAGE and calls.usage == ANSWER_USAGE
    with pytest.raises(NeedsAnswer):
        await calls.chat(REQUEST, stage="inference", frame=FRAME)


async def test_an_answer_of_another_stage_or_round_waits_for_its_request() -> None:
    for other in (answer("critique"), answer(round_=1)):
        calls = calls_with(other)
        with pytest.raises(NeedsAnswer):
            await calls.chat(REQUEST, stage="inference", frame=FRAME)
        assert calls.fresh is None
    assert answer(None).fits("critique", 4)


async def test_an_answer_may_be_an_error() -> None:
    calls = calls_with(failed_answer("po1", ModelRefused("no")))
    with pytest.raises(ModelRefused):
        await calls.chat(REQUEST, stage="inference", frame=FRAME)
    assert calls.fresh is not None
