"""The open batches of a map: in the log before anything happens, and taken up from there."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.maps.batches.open_batches import OpenBatches
from po_jupyter.engine.replay.history import read_history
from po_jupyter.errors import ModelUnavailable
from tests.support.engine import RUN
from tests.support.maps import events


async def test_another_worker_takes_batches_up_from_the_log(batch_parts: Any) -> None:
    parts = await batch_parts(3)
    await parts.sender.fill()
    (before,) = parts.batches
    parts.state.in_flight = 0
    again = OpenBatches(parts.state, parts.api)
    await again.recover(adopt_holds=True)
    (batch,) = again
    assert (batch.token, batch.id, batch.rows) == (before.token, before.id, before.rows)
    assert again.rows() == {0, 1, 2} and parts.state.in_flight == 3


async def test_a_batch_whose_id_was_lost_is_found_and_one_that_never_was_is_dropped(batch_parts: Any) -> None:
    """P3: the submit was stopped before its id was recorded."""
    for made, ids in ((True, 1), (False, 0)):
        parts = await batch_parts(2)
        await parts.sender.fill()
        (batch,) = parts.batches
        record = parts.state.parts.log.state.tasks["m"].batches[batch.token]
        record.pop("id")
        if not made:
            parts.vendor.batches.clear()
        again = OpenBatches(parts.state, parts.api)
        await again.recover(adopt_holds=False)
        assert len(again.ids()) == ids
        assert bool(events(parts.state, "batch.dropped")) is not made


async def test_what_was_reserved_is_held_again(batch_parts: Any) -> None:
    """G1: the log has it as used; its answers give back what they did not need."""
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=10_000)))
    parts = await batch_parts(2, budget=budget)
    await parts.sender.fill()
    (batch,) = parts.batches
    spent = read_history(parts.state.parts.log.store, RUN).spent
    assert spent.of_batch(batch.token) == batch.reserved
    parts.state.parts.history.spent = spent
    account = Account("run", BudgetLimits(tokens=10_000), batch.reserved)
    parts.state.parts.calls.budget = BudgetGuard(account)
    again = OpenBatches(parts.state, parts.api)
    await again.recover(adopt_holds=True)
    assert (account.used.tokens, account.reserved) == (0, batch.reserved)


async def test_a_cancel_that_the_provider_did_not_hear_is_remembered(batch_parts: Any) -> None:
    parts = await batch_parts(2)
    await parts.sender.fill()
    (batch,) = parts.batches

    async def silent(id: str) -> None:
        raise ModelUnavailable("not now")

    parts.vendor.cancel = silent
    await parts.batches.cancel_all()
    assert batch.cancelling and not batch.cancel_sent
    assert len(events(parts.state, "batch.cancelling")) == 1
