"""Results of batches: every answer to its row, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.batches.protocol import BatchStatus
from tests.support.maps import events


async def sent(parts: Any) -> Any:
    await parts.sender.fill()
    (batch,) = parts.batches
    return batch, await parts.vendor.status(batch.id)


async def test_answers_become_outcomes_and_the_batch_is_closed(batch_parts: Any) -> None:
    parts = await batch_parts(3)
    await parts.collector.collect(*await sent(parts))
    assert parts.state.done == 3 and parts.state.in_flight == 0 and not parts.batches
    (closed,) = events(parts.state, "batch.closed")
    assert (closed["data"]["state"], closed["data"]["answered"]) == ("ended", 3)


async def test_a_row_without_a_result_fails(batch_parts: Any) -> None:
    parts = await batch_parts(3, failure_threshold=1)
    parts.vendor.reply = lambda custom_id: None if custom_id.split("-")[1] == "1" else "good"
    await parts.collector.collect(*await sent(parts))
    await parts.state.parts.log.flush()
    (failed,) = events(parts.state, "item.failed")
    assert failed["item"] == 1 and "returned no result for row 1" in failed["data"]["error"]["message"]


async def test_a_row_without_a_result_fails_with_the_reason_of_its_batch(batch_parts: Any) -> None:
    """P12: what has an answer is kept, also of a batch that failed as a whole."""
    parts = await batch_parts(3, failure_threshold=1)
    parts.vendor.reply = lambda custom_id: None if custom_id.split("-")[1] == "1" else "good"
    batch, status = await sent(parts)
    failed_batch = replace(status, error="broken", results=("x",), missing="the batch failed: broken")
    await parts.collector.collect(batch, failed_batch)
    await parts.state.parts.log.flush()
    (failed,) = events(parts.state, "item.failed")
    assert failed["item"] == 1 and failed["data"]["error"]["message"].endswith("the batch failed: broken")
    assert parts.state.done == 2 and parts.state.error is None


async def test_rows_of_a_cancelled_batch_stay_open(batch_parts: Any) -> None:
    parts = await batch_parts(3, stopping=True)
    parts.vendor.reply = lambda custom_id: "good" if custom_id.split("-")[1] == "0" else None
    batch, status = await sent(parts)
    await parts.batches.cancel(batch)
    await parts.collector.collect(batch, status)
    assert (parts.state.done, parts.state.failed, parts.state.remaining) == (1, 0, 2)
    assert parts.vendor.cancelled == [batch.id]


@pytest.mark.parametrize(("lines", "failed"), [({2: "bad line"}, [1]), ({}, [])])
async def test_a_refused_batch_fails_its_bad_lines_only(
    batch_parts: Any, lines: dict[int, str], failed: list[int]
) -> None:
    parts = await batch_parts(3, failure_threshold=1)
    batch, _ = await sent(parts)
    await parts.collector.collect(batch, BatchStatus(batch.id, "ended", error="refused", code="x", lines=lines))
    assert [i for i in range(3) if i in parts.state.table] == failed
    assert isinstance(parts.state.error, ModelRefused) is not bool(lines)


async def test_an_account_that_has_too_much_in_batches_waits_for_its_others(batch_parts: Any) -> None:
    parts = await batch_parts(4)
    parts.vendor.max_requests = 2
    await parts.sender.fill()
    first, second = parts.batches
    crowded = BatchStatus(second.id, "ended", error="too much", code="token_limit_exceeded")
    await parts.collector.collect(second, crowded)
    assert parts.state.error is None and not parts.batches.accept_more
    await parts.collector.collect(first, await parts.vendor.status(first.id))
    assert parts.batches.accept_more
