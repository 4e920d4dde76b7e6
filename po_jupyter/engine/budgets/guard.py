"""The guard of a run's hard limits (G1): sets the worst case of a call aside before it is sent, on every account.

    a call ──► the task's budget ─► the run's ─► the owner's day ──► sent ──► settled: what it really used

Reservations are larger than what calls use, so a call that does not fit waits for those in flight to be settled: a
budget narrows a run before it stops it. When nothing is in flight any more and it still does not fit, the run ends
with `budget_exceeded` and keeps everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from po_jupyter.engine.budgets.account import Account, Hold
from po_jupyter.engine.budgets.daily_share import DailyShare
from po_jupyter.engine.budgets.limits import WARN_AT, warning_data
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount, amount_of
from po_jupyter.errors import BudgetExceeded
from po_jupyter.llm.bounds import output_limit, thinking_room
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.tokens import bound_audio, bound_request, is_quick
from po_jupyter.model.run.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import BudgetWarningData

_SMALLEST_ROOM = 256  # tokens to think with, below which there is no use in less


class _Waiter(NamedTuple):
    future: asyncio.Future[Hold]
    worst: Amount
    accounts: tuple[Account, ...]


class BudgetGuard:
    """The accounts of one run: its own, those of tasks, and its share of the owner's day.

    `on_warning` gets the data of each `budget.warning`, `on_wait` the reason why calls wait for the owner's day.
    """

    def __init__(
        self,
        run: Account | None = None,
        tasks: Mapping[str, Account] | None = None,
        day: DailyShare | None = None,
        *,
        on_warning: Callable[[BudgetWarningData], None] = lambda data: None,
        on_wait: Callable[[str], None] = lambda reason: None,
        prices: PriceBook = LIST_PRICES,
        await_price: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """A guard of these accounts; None: no limit of that kind. `await_price` waits for the price of a model that
        somebody has yet to say, where dollars are limited."""
        self._await_price = await_price
        self.run = run
        self.day = day
        self._tasks = dict(tasks or {})
        self._on_warning = on_warning
        self._on_wait = on_wait
        self._prices = prices
        self._waiters: deque[_Waiter] = deque()
        limits = [a.limits for a in (run, *self._tasks.values(), day) if a is not None]
        self._priced = any(limit.usd is not None for limit in limits)

    def add(self, account: Account) -> None:
        """Add the account of a task that another task added; nothing when there is one."""
        if account.name not in self._tasks:
            self._tasks[account.name] = account
            self._priced = self._priced or account.limits.usd is not None

    def accounts_of(self, task: str) -> tuple[Account, ...]:
        """The accounts that calls of a task fall on, that of the day left out."""
        return tuple(a for a in (self._tasks.get(task), self.run) if a is not None)

    def worst_of(self, request: ChatRequest) -> Amount:
        """The most that a call may use, in dollars where a limit is. Raises BudgetExceeded for an unknown price."""
        return worst_of(request, self._prices if self._priced else None)

    async def worst_case(self, request: ChatRequest) -> Amount:
        """The worst case of a request, as `worst_of`; a large request is counted in a thread."""
        if self._priced and self._await_price is not None:
            await self._await_price(request.model)
        size = sum(len(m.content) for m in request.messages)
        if is_quick(size, request.model):
            return self.worst_of(request)
        return await asyncio.to_thread(self.worst_of, request)

    async def reserve(self, request: ChatRequest, task: str = "") -> Hold:
        """Set the worst case of `request` aside; waits while calls in flight may free it. Raises BudgetExceeded."""
        return await self.reserve_amount(await self.worst_case(request), self.accounts_of(task))

    async def fit(self, request: ChatRequest, task: str = "") -> tuple[ChatRequest, Amount]:
        """(the request, its worst case): with less room to think where the default room is more than is left at all.

        A small budget would otherwise refuse the first call for thoughts that it never has. The answer's own bound
        and a room that somebody chose stay.
        """
        worst = await self.worst_case(request)
        room = thinking_room(request)
        if request.max_thinking_tokens is not None or not room or self._could_fit(worst, task):
            return request, worst
        smaller = request
        while room >= _SMALLEST_ROOM:
            room //= 2
            smaller = replace(request, max_thinking_tokens=room)
            less = await self.worst_case(smaller)
            if self._could_fit(less, task):
                return smaller, less
        return request, worst

    def _could_fit(self, worst: Amount, task: str) -> bool:
        """True when a call of that size fits once nothing is in flight."""
        accounts = self.accounts_of(task)
        if not all(account.limits.allow(account.used.plus(worst)) for account in accounts):
            return False
        return self.day is None or self.day.limits.allow(worst)

    async def reserve_amount(self, worst: Amount, accounts: tuple[Account, ...]) -> Hold:
        """Reserve an amount on accounts, as `reserve` does for a request."""
        waiter = _Waiter(asyncio.get_running_loop().create_future(), worst, accounts)
        self._waiters.append(waiter)
        self.decide_waiting_calls()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and not waiter.future.exception():
                self.settle(waiter.future.result(), Usage())
            else:
                waiter.future.cancel()
                self.decide_waiting_calls()
            raise

    def decide_waiting_calls(self) -> None:
        """Let waiting calls go or refuse them (BudgetExceeded), in order.

        One that has to go on waiting holds the others up, or it would starve.
        """
        while self._waiters:
            future, worst, accounts = self._waiters[0]
            if not future.done():
                full = next((a for a in accounts if not a.fits(worst)), None)
                if full is not None and full.holds:
                    return
                if full is not None:
                    future.set_exception(full.exceeded(worst))
                elif self.day is not None and not self.day.fits(worst):
                    if self.day.refused is None:
                        self.day.request(worst, on_answer=self.decide_waiting_calls, on_wait=self._wait_for_day)
                        return
                    future.set_exception(_copy(self.day.refused))
                else:
                    for account in accounts:
                        account.hold(worst)
                    day = self.day.hold(worst) if self.day is not None else None
                    future.set_result(Hold(worst, accounts, day))
            self._waiters.popleft()

    async def renew(self, hold: Hold, used: Usage | None) -> Hold:
        """Settle a try of a call that another try follows, and reserve its worst case again."""
        self.settle(hold, used)
        return await self.reserve_amount(hold.worst, hold.accounts)

    def settle(self, hold: Hold, used: Usage | None, *, before: Amount = ZERO) -> None:
        """End the hold of a call that used `used`; None: nobody knows, so its worst case stays counted.

        `before` is the part of `used` that was settled with earlier tries.
        """
        amount = hold.worst if used is None else amount_of(used.to_json(), hold.worst).minus(before)
        # An earlier try that was lost is in `before`, and was counted with it.
        lost = used is None or (used.unknown > 0 and amount.tokens >= hold.worst.tokens)
        for account in hold.accounts:
            account.settle(hold.worst, amount, lost=lost)
        self.warn(hold.accounts)
        if self.day is not None and hold.day is not None:
            self.day.settle(hold.day, hold.worst, amount)
        self.decide_waiting_calls()

    def warn(self, accounts: tuple[Account, ...]) -> None:
        """Give the warning of each account that has 80 % used, once."""
        for account in accounts:
            if not account.warned and account.limits.fraction(account.used) >= WARN_AT:
                account.warned = True
                self._on_warning(warning_data(account.name, account.used, account.limits))

    def _wait_for_day(self) -> None:
        self._on_wait("today's budget: other runs hold what is left of it")

    async def aclose(self) -> None:
        """Give the share of the day back."""
        if self.day is not None:
            await self.day.aclose()


def worst_of(request: ChatRequest, prices: PriceBook | None) -> Amount:
    """The most that a call may use: the bound of its question (`llm.money.tokens`), and a full answer.

    With `prices` in dollars too; then raises BudgetExceeded for an unknown price.
    """
    question = bound_request(request)
    answer = output_limit(request) or 0
    if prices is None:
        return Amount(0.0, question + answer)
    usage = Usage(input_tokens=question, output_tokens=answer, calls=1, audio_tokens=bound_audio(request))
    usd = prices.worst_cost(usage, request.model, requested=request.service_tier)
    if usd is None:
        raise BudgetExceeded(
            f"the price of {request.model} is unknown, so a budget in dollars cannot be kept",
            hint="Use a budget in tokens, or a model with a known price.",
        )
    return Amount(usd, question + answer)


def _copy(error: BudgetExceeded) -> BudgetExceeded:
    return BudgetExceeded(error.message, hint=error.hint, details=dict(error.details))
