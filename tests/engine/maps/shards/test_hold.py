from __future__ import annotations

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.maps.shards.hold import ShardHold, Share, shares_of
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount


def guard() -> BudgetGuard:
    run = Account("run", BudgetLimits(usd=1.0), Amount(0.2, 10))
    return BudgetGuard(run, {"m": Account("m", BudgetLimits(tokens=100), Amount(0.1, 10))})


def test_a_share_is_of_what_every_account_has_left() -> None:
    assert shares_of(guard(), "m", 2) == Share(0.4, 45)
    assert shares_of(guard(), "other", 2) == Share(0.4, None)
    assert shares_of(None, "m", 2) is None
    assert shares_of(BudgetGuard(), "m", 2) is None
    assert Share(None, 0).is_nothing
    assert not Share(0.1, None).is_nothing


def test_what_a_child_has_is_nobody_elses_until_it_has_ended() -> None:
    one = guard()
    assert one.run is not None
    share = shares_of(one, "m", 2)
    assert share is not None
    holds = [ShardHold(one, "m", share.amount) for _ in range(2)]
    assert not one.run.fits(Amount(0.01, 1))
    holds[0].use(Amount(0.4, 30))
    holds[0].use(Amount(-0.1, -10))  # a call in flight was answered, and cost less than it might have
    assert (round(one.run.used.usd, 6), round(one.run.reserved.usd, 6)) == (0.5, 0.5)
    holds[0].release()
    assert one.run.fits(Amount(0.09, 1))
    assert not one.run.fits(Amount(0.11, 1))
    holds[1].release()
    assert one.run.reserved == ZERO
    assert round(one.run.used.usd, 6) == 0.5


def test_a_child_that_uses_more_than_its_share_takes_nothing_that_others_have() -> None:
    one = guard()
    assert one.run is not None
    beside = ShardHold(one, "m", Amount(0.3, 20))
    hold = ShardHold(one, "m", ZERO)
    hold.use(Amount(0.1, 10))
    assert (round(one.run.used.usd, 6), round(one.run.reserved.usd, 6)) == (0.3, 0.3)
    hold.use(Amount(-0.05, -5))
    hold.release()
    assert (round(one.run.used.usd, 6), round(one.run.reserved.usd, 6)) == (0.25, 0.3)
    beside.release()
    assert one.run.reserved == ZERO
