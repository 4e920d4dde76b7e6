"""The reservation of one call: room in the budget from before the call is sent until what it used is known."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType

from po_jupyter.engine.budgets.account import Hold, ReservedDay, reserved, reserved_day
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.ports import CallFrame
from po_jupyter.engine.replay.spent_from_log import Amount, amount_of
from po_jupyter.errors import ModelError
from po_jupyter.llm.calls.journaled_chat import CallScope
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.model.run.usage import Usage


class CallReservation:
    """The room for the worst case of one call, set aside inside an `async with` block and settled at its end.

    `renew` settles a try that came to nothing and sets room aside for the next one. The stage's clock stands still
    while the budget has no room. `request` is the one to send: with less room to think where the budget has no more.
    Entering raises BudgetExceeded.
    """

    __slots__ = (
        "_before",
        "_budget",
        "_day",
        "_frame",
        "_hold",
        "_scope",
        "_token",
        "_tries",
        "_used",
        "request",
    )

    def __init__(self, budget: BudgetGuard, scope: CallScope, frame: CallFrame, request: ChatRequest) -> None:
        """The reservation of `request` in `budget`; `scope` knows the usage of the attempt that makes the call."""
        self._budget = budget
        self._scope = scope
        self._frame = frame
        self.request = request
        self._hold: Hold | None = None
        self._day: str | None = None  # of the first try
        self._token: Token[Amount | None] | None = None
        self._tries = Amount()  # usage of the tries that were settled, as far as it is known
        self._before = scope.usage
        self._used: Usage | None = None

    async def __aenter__(self) -> CallReservation:
        """Wait for room and set it aside."""
        with self._frame.waiting():
            task = self._frame.task.name
            self.request, worst = await self._budget.fit(self.request, task)
            hold = self._hold = await self._budget.reserve_amount(worst, self._budget.accounts_of(task))
        self._day = hold.day
        self._token = reserved.set(hold.worst)
        reserved_day.set(ReservedDay(hold.day))
        self._before = self._scope.usage
        return self

    async def renew(self, error: ModelError) -> None:
        """Settle the try that ended with `error`, and set room aside for the next. Raises BudgetExceeded."""
        assert self._hold is not None
        reported = error.usage
        usage = Usage.model_validate(reported) if reported else None
        self._tries = self._tries.plus(amount_of(reported, self._hold.worst))
        settled, self._hold = self._hold, None
        with self._frame.waiting():
            self._hold = hold = await self._budget.renew(settled, usage)
        reserved_day.set(ReservedDay(hold.day, moved=hold.day != self._day))

    def answered(self, response: ChatResponse) -> ChatResponse:
        """Note what the call used; the response itself."""
        self._used = response.usage
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Settle the call: with its usage, or with the worst case when nobody knows it."""
        used = self._used
        if isinstance(error, ModelError):
            used = Usage.model_validate(error.usage) if error.usage else Usage(calls=1)
        if used is None and self._scope.usage is self._before and not self._scope.in_flight:
            used = self._scope.take_withdrawn_usage()  # stopped while nothing of it was in flight
        if self._token is not None:
            reserved.reset(self._token)
            reserved_day.set(None)
        if self._hold is not None:
            self._budget.settle(self._hold, used, before=self._tries)
