"""Rows into batches: which are sent, in how many batches, and within which budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import BudgetExceeded, ModelKeyError
from tests.support.maps import events


async def test_rows_without_an_outcome_are_sent_in_order(batch_parts: Any, tmp_path: Path) -> None:
    parts = await batch_parts(3)
    await parts.sender.fill()
    (lines,) = parts.vendor.batches.values()
    assert [line["text"] for line in lines] == ["r0", "r1", "r2"]
    (prepared,) = events(parts.state, "batch.prepared")
    assert (prepared["data"]["rows"], prepared["data"]["count"]) == ("0-2", 3)
    assert parts.state.in_flight == 3
    assert not list((tmp_path / "files").iterdir()), "what was sent is not kept a second time"
    await parts.sender.fill()
    assert len(parts.vendor.batches) == 1, "rows in a batch are sent once"


async def test_a_full_batch_is_followed_by_another(batch_parts: Any) -> None:
    parts = await batch_parts(5)
    parts.vendor.max_requests = 2
    await parts.sender.fill()
    assert [len(lines) for lines in parts.vendor.batches.values()] == [2, 2, 1]


async def test_a_row_that_is_too_large_fails_and_the_others_are_sent(batch_parts: Any) -> None:
    parts = await batch_parts(
        3, prompt="{{ item }}{{ 'x' * 200 if item == 'r1' else '' }}", failure_threshold=1
    )
    parts.vendor.max_bytes = 200
    await parts.sender.fill()
    assert parts.state.table[1].ok is False
    assert parts.batches.rows() == {0, 2}


async def test_as_many_rows_as_the_budget_affords(batch_parts: Any) -> None:
    budget = BudgetGuard(account := Account("run", BudgetLimits(tokens=250)))
    parts = await batch_parts(5, budget=budget)
    worst = budget.worst_of(_question(parts))
    account.limits = BudgetLimits(tokens=2 * worst.tokens)
    await parts.sender.fill()
    (batch,) = parts.batches
    assert batch.rows == (0, 1) and account.reserved == batch.reserved == Amount(0.0, 2 * worst.tokens)
    await parts.batches.drop(batch, None)
    assert account.reserved == Amount()


async def test_when_not_one_row_fits_the_map_stops(batch_parts: Any) -> None:
    parts = await batch_parts(budget=BudgetGuard(account := Account("run", BudgetLimits(tokens=1))))
    await parts.sender.fill()
    assert isinstance(parts.state.error, BudgetExceeded)
    assert parts.vendor.batches == {} and account.holds == 0


async def test_a_batch_that_was_certainly_not_made_is_dropped(batch_parts: Any) -> None:
    parts = await batch_parts()
    parts.vendor.create_errors = [(ModelKeyError("no key"), False)]
    await parts.sender.fill()
    assert isinstance(parts.state.error, ModelKeyError)
    assert not parts.batches and parts.state.in_flight == 0
    assert events(parts.state, "batch.dropped")[0]["data"]["error"]["code"] == "model_key"


def _question(parts: Any) -> Any:
    row = parts.state.row(0)
    return parts.state.parts.calls.calls(parts.state.task, 1).request(row.messages)
