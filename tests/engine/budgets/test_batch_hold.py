"""Holds of batches (G1): set aside row by row, settled answer by answer, and never more than the limit."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.batch_hold import BatchHold
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import BudgetExceeded
from po_jupyter.model.run.usage import Usage

ROW = Amount(0.0, 100)


def guard(tokens: int) -> tuple[BudgetGuard, Account]:
    account = Account("run", BudgetLimits(tokens=tokens))
    return BudgetGuard(account), account


async def test_a_batch_takes_as_many_rows_as_fit() -> None:
    budget, account = guard(250)
    hold = BatchHold(budget, "m")
    assert [await hold.widen(ROW) for _ in range(3)] == [True, True, False]
    assert hold.remaining == account.reserved == Amount(0.0, 200)
    assert account.holds == 1, "one hold, however many rows"


async def test_each_answer_is_settled_and_the_rest_given_back() -> None:
    budget, account = guard(250)
    hold = BatchHold(budget, "m")
    await hold.widen(ROW)
    await hold.widen(ROW)
    hold.settle(ROW, Usage(input_tokens=30, output_tokens=5, calls=1))
    assert (account.used.tokens, account.reserved.tokens) == (35, 100)
    hold.release()
    hold.release()
    assert (account.used.tokens, account.reserved, account.holds) == (35, Amount(), 0)


async def test_an_unknown_cost_is_that_of_the_worst_case() -> None:
    account = Account("run", BudgetLimits(usd=1.0))
    hold = BatchHold(BudgetGuard(account), "m")
    await hold.widen(Amount(0.2, 10))
    hold.settle(Amount(0.2, 10), Usage(input_tokens=1, cost=None, calls=1))
    assert account.used.usd == 0.2


async def test_the_first_row_waits_for_calls_in_flight_and_never_for_nothing() -> None:
    budget, account = guard(150)
    other = await budget.reserve_amount(ROW, (account,))
    hold = BatchHold(budget, "m")
    assert not await hold.widen(ROW)
    beginning = asyncio.ensure_future(hold.begin(ROW))
    await asyncio.sleep(0)
    assert not beginning.done()
    budget.settle(other, Usage())
    await beginning
    assert hold.remaining == ROW
    with pytest.raises(BudgetExceeded):
        await BatchHold(guard(50)[0], "m").begin(ROW)


async def test_what_the_log_has_as_used_is_held_again_after_a_restart() -> None:
    account = Account("run", BudgetLimits(tokens=500), Amount(0.0, 300))
    hold = BatchHold.adopt(BudgetGuard(account), "m", Amount(0.0, 200))
    assert (account.used.tokens, account.reserved.tokens) == (100, 200)
    hold.settle(ROW, Usage(input_tokens=1, calls=1))
    hold.release()
    assert (account.used.tokens, account.reserved) == (101, Amount())


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100)), max_size=30), st.integers(1, 800))
def test_a_batch_never_exceeds_the_budget(rows: list[tuple[int, int]], limit: int) -> None:
    async def go() -> None:
        budget, account = guard(limit)
        hold = BatchHold(budget, "m")
        sent = [(worst, used) for worst, used in rows if await hold.widen(Amount(0.0, worst))]
        assert account.reserved.tokens == sum(worst for worst, _ in sent) <= limit
        for worst, percent in sent:
            hold.settle(Amount(0.0, worst), Usage(output_tokens=worst * percent // 100, calls=1))
            assert account.used.tokens + account.reserved.tokens <= limit
        hold.release()
        assert account.reserved == Amount()

    asyncio.run(go())
