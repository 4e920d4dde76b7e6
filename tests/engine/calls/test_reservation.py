"""The reservation of one call: what is set aside, and what counts once the call is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.engine.budgets.account import Account, reserved
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.calls.reservation import CallReservation
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import BudgetExceeded, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("fake:echo", (Message("user", "x" * 40),), max_tokens=50)
USED = Usage(input_tokens=10, output_tokens=5, calls=1, cost=0.0)


class Scope:
    """The journal of an attempt: `usage` changes when a call ends, `withdrawn` is of calls that were given up."""

    def __init__(self, withdrawn: Usage | None = None) -> None:
        self.usage = Usage()
        self.in_flight = 0
        self.withdrawn = withdrawn

    def take_withdrawn_usage(self) -> Usage | None:
        return self.withdrawn


class Frame:
    """A frame that counts how often its clock stood still."""

    def __init__(self) -> None:
        self.task = SimpleNamespace(name="t")
        self.waits = 0

    def waiting(self) -> AbstractContextManager[None]:
        @contextmanager
        def clock() -> Iterator[None]:
            self.waits += 1
            yield

        return clock()


class Rig:
    """A budget of 1,000 tokens, and one reservation of it."""

    def __init__(self, scope: Scope | None = None) -> None:
        self.account = Account("run", BudgetLimits(tokens=1000))
        self.budget = BudgetGuard(self.account)
        self.scope = scope or Scope()
        self.frame = Frame()

    def reservation(self) -> CallReservation:
        scope: Any = self.scope
        frame: Any = self.frame
        return CallReservation(self.budget, scope, frame, REQUEST)

    @property
    def used(self) -> int:
        return self.account.used.tokens


async def test_an_answer_counts_what_it_used_and_frees_the_rest() -> None:
    rig = Rig()
    async with rig.reservation() as reservation:
        held = rig.account.reserved.tokens
        assert held > 50
        assert reserved.get() == rig.account.reserved, "the call's intent records it"
        reservation.answered(ChatResponse("ok", USED, "fake:echo"))
    assert reserved.get() is None
    assert (rig.used, rig.account.reserved, rig.frame.waits) == (15, Amount(), 1)


async def test_an_error_counts_what_it_reports_else_one_call_without_tokens() -> None:
    rig = Rig()
    with pytest.raises(ModelUnavailable):
        async with rig.reservation():
            raise ModelUnavailable("half", details={"usage": USED.to_json()})
    assert rig.used == 15
    with pytest.raises(ModelUnavailable):
        async with rig.reservation():
            raise ModelUnavailable("refused")
    assert (rig.used, rig.account.reserved) == (15, Amount())


async def test_a_stop_in_flight_counts_the_worst_case() -> None:
    """P3: nobody knows what became of the call."""
    rig = Rig()
    with pytest.raises(KeyboardInterrupt):
        async with rig.reservation():
            worst = rig.account.reserved.tokens
            rig.scope.in_flight = 1
            raise KeyboardInterrupt
    assert rig.used == worst


async def test_a_stop_with_nothing_in_flight_counts_what_broken_tries_used() -> None:
    rig = Rig(Scope(withdrawn=USED))
    with pytest.raises(KeyboardInterrupt):
        async with rig.reservation():
            raise KeyboardInterrupt
    assert rig.used == 15


async def test_a_retry_settles_the_try_before_and_is_not_counted_twice() -> None:
    rig = Rig()
    async with rig.reservation() as reservation:
        await reservation.renew(ModelUnavailable("half", details={"usage": USED.to_json()}))
        assert rig.used == 15
        # The journal's usage of a call has its broken tries too.
        reservation.answered(ChatResponse("ok", USED + USED, "fake:echo"))
    assert (rig.used, rig.frame.waits) == (30, 2)


async def test_a_retry_without_room_ends_the_call_with_nothing_set_aside() -> None:
    rig = Rig()
    lost = ModelUnavailable("late", outcome="unknown")
    with pytest.raises(BudgetExceeded):
        async with rig.reservation() as reservation:
            for _ in range(40):
                await reservation.renew(lost)
    assert rig.account.reserved == Amount()
    assert rig.used <= 1000
