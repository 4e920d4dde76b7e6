"""A row of a batch map: to the request that nothing answers, or to its outcome."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.maps.batches.row_calls import BatchAnswer, failed_answer
from po_jupyter.errors import BudgetExceeded, ModelRefused
from po_jupyter.llm.chat import ChatResponse
from tests.support.maps import ANSWER_USAGE, MODEL, items

ANSWER = BatchAnswer("po1", "inference", 0, lambda request: ChatResponse("good", ANSWER_USAGE, MODEL))


async def test_a_row_stops_at_the_request_that_nothing_answers(batch_parts: Any) -> None:
    parts = await batch_parts()
    question, _ = await parts.runner.run(1, 1)
    assert question.request.messages[0].content == "r1"
    assert len(parts.state.table) == 0
    assert parts.state.parts.calls.made[0][2].dropped == 1


async def test_its_answer_makes_its_outcome(batch_parts: Any) -> None:
    parts = await batch_parts()
    question, calls = await parts.runner.run(1, 1, ANSWER)
    await parts.state.parts.log.flush()
    (item,) = items(parts.state)
    assert question is None and calls.fresh == ANSWER_USAGE
    assert item["ok"] and item["index"] == 1 and item["usage"]["calls"] == 1


async def test_an_error_is_the_rows_and_a_spent_budget_is_the_maps(batch_parts: Any) -> None:
    parts = await batch_parts(failure_threshold=1)
    await parts.runner.run(0, 1, failed_answer("po1", ModelRefused("no")))
    assert (parts.state.failed, parts.state.error) == (1, None)
    await parts.runner.run(1, 1, BatchAnswer("po1", None, 0, _spent))
    assert parts.state.failed == 1 and isinstance(parts.state.error, BudgetExceeded)


def _spent(request: Any) -> ChatResponse:
    raise BudgetExceeded("spent")
