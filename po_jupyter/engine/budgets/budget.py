"""Hard limits (G1): the worst case of a call is set aside before it is sent, on every account that it falls on.

    a call ──► the task's budget ─► the run's ─► the owner's day ──► sent ──► settled: what it really used

Reservations are larger than what calls use, so a call that does not fit waits for those in flight to be
settled: a budget narrows a run before it stops it. When nothing is in flight any more and it still does not
fit, the run ends with `budget_exceeded` and keeps everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from po_jupyter.engine.budgets.daily_ledger import Limits
from po_jupyter.engine.budgets.daily_share import DayShare
from po_jupyter.engine.replay.spending import NOTHING, Amount, amount_of, dollars
from po_jupyter.errors import BudgetExceeded, PoError
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.tokens import count_request, is_quick
from po_jupyter.model.run.usage import Usage

# What is estimated before a call gets a tenth more: that keeps the bound hard for ordinary text. What a
# published encoding counts needs none.
_MARGIN = 1.1
WARN_AT = 0.8
Say = Callable[[str, Mapping[str, Any]], None]

# What is set aside for the call that is being made: its intent keeps it, so that a lost call stays counted.
reserved: ContextVar[Amount | None] = ContextVar("po_reserved", default=None)


class Account:
    """One limit and what counts against it. `name` is `run` or a task's name; `said`: the warning was given."""

    __slots__ = ("held", "limits", "name", "open", "said", "used")

    def __init__(
        self, name: str, limits: Mapping[str, Any], used: Amount = NOTHING, *, said: bool = False
    ) -> None:
        self.name = name
        self.limits = Limits(limits.get("usd"), limits.get("tokens"))
        self.used = used
        self.held = Amount()
        self.open = 0
        self.said = said

    def fits(self, worst: Amount) -> bool:
        """Whether a call of that size can be sent now."""
        return self.limits.allow(self.used.plus(self.held).plus(worst))

    def hold(self, worst: Amount) -> None:
        """Set it aside."""
        self.held = self.held.plus(worst)
        self.open += 1

    def shift(self, worst: Amount, used: Amount) -> None:
        """Of what is set aside for a batch, `worst` is free (below nothing: more is set aside); `used` was used."""
        self.held = Amount(max(0.0, self.held.usd - worst.usd), max(0, self.held.tokens - worst.tokens))
        self.used = self.used.plus(used)

    def settle(self, worst: Amount, used: Amount) -> None:
        """Free what was set aside and count what was used."""
        self.open -= 1
        self.held = self.held.minus(worst) if self.open else Amount()  # no drift of floats over a long run
        self.used = self.used.plus(used)

    def exceeded(self, worst: Amount) -> BudgetExceeded:
        """The error of a call that does not fit."""
        whose = "the budget" if self.name == "run" else f"the budget of task {self.name!r}"
        if self.limits.usd is not None and self.used.usd + worst.usd > self.limits.usd:
            message = (
                f"{whose} of {dollars(self.limits.usd)} is spent: {dollars(self.used.usd)} used, "
                f"and the next call could cost {dollars(worst.usd)}"
            )
        else:
            message = (
                f"{whose} of {self.limits.tokens:,} tokens is spent: {self.used.tokens:,} used, "
                f"and the next call could take {worst.tokens:,}"
            )
        option = "N" if self.name == "run" else f"{self.name}=N"
        return BudgetExceeded(
            message,
            hint=f"What is finished is kept. Resume with a larger budget: po resume RUN --budget {option}.",
            details={
                "scope": self.name,
                "used": self.used.to_json(),
                "budget": {"usd": self.limits.usd, "tokens": self.limits.tokens},
            },
        )


class Hold(NamedTuple):
    """What was set aside for one call: on these accounts, and on this day of the owner's."""

    worst: Amount
    accounts: tuple[Account, ...]
    day: str | None = None


@dataclass(slots=True)
class BatchHold:
    """What is set aside for a batch: it grows and shrinks row by row."""

    accounts: tuple[Account, ...]
    day: str | None = None
    left: Amount = NOTHING
    begun: bool = False


class _Waiting(NamedTuple):
    future: asyncio.Future[Hold]
    worst: Amount
    accounts: tuple[Account, ...]


class Budget:
    """The accounts of one run. `say(type, data)` is told events: `budget.warning`, and waits for the day's
    share."""

    def __init__(
        self,
        run: Account | None = None,
        tasks: Mapping[str, Account] | None = None,
        day: DayShare | None = None,
        *,
        say: Say = lambda type, data: None,
        prices: PriceBook = LIST_PRICES,
    ) -> None:
        self._run = run
        self._prices = prices
        self._tasks = dict(tasks or {})
        self._day = day
        self._say = say
        self._queue: deque[_Waiting] = deque()
        accounts = [a for a in (run, *self._tasks.values(), day) if a is not None]
        self._priced = any(a.limits.usd is not None for a in accounts)
        if day is not None:
            day.wake = self._pump

    def add(self, account: Account) -> None:
        """The account of a task that came to the run while it was on its way."""
        if account.name not in self._tasks:
            self._tasks[account.name] = account
            self._priced = self._priced or account.limits.usd is not None

    async def reserve(self, request: ChatRequest, task: str = "") -> Hold:
        """Set the worst case of `request` aside; waits while others in flight may free it. BudgetExceeded."""
        return await self._reserve(await self.worst_case(request), task)

    async def worst_case(self, request: ChatRequest) -> Amount:
        """As `worst_of`; a large request is counted in a thread."""
        size = sum(len(m.content) for m in request.messages)
        if is_quick(size, request.model):
            return self.worst_of(request)
        return await asyncio.to_thread(self.worst_of, request)

    async def _reserve(self, worst: Amount, task: str) -> Hold:
        return await self._granted(worst, self._accounts(task))

    async def _granted(self, worst: Amount, accounts: tuple[Account, ...]) -> Hold:
        waiting = _Waiting(asyncio.get_running_loop().create_future(), worst, accounts)
        self._queue.append(waiting)
        self._pump()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled() and not waiting.future.exception():
                self.settle(waiting.future.result(), Usage())
            else:
                waiting.future.cancel()
                self._pump()
            raise

    def _accounts(self, task: str) -> tuple[Account, ...]:
        return tuple(a for a in (self._tasks.get(task), self._run) if a is not None)

    # -- batches: many calls, set aside together, settled one by one ---------------------------------
    def hold_for(self, task: str) -> BatchHold:
        """An empty hold on the accounts of a task."""
        return BatchHold(self._accounts(task))

    async def widen(self, hold: BatchHold, worst: Amount) -> bool:
        """Set that much more aside; False when it does not fit now. Waits for nobody but the ledger of the day."""
        if self._day is not None and not self._day.fits(worst) and not await self._day.reach(worst):
            return False
        if not all(account.fits(worst) for account in hold.accounts):
            return False
        if not hold.begun:
            hold.begun = True
            for account in hold.accounts:
                account.hold(worst)
            hold.day = self._day.hold(worst) if self._day is not None else None
        else:
            self._shift(hold, Amount(-worst.usd, -worst.tokens), NOTHING)
        hold.left = hold.left.plus(worst)
        return True

    async def begin(self, worst: Amount, task: str) -> BatchHold:
        """As `reserve`: waits while calls in flight may free that much. Raises BudgetExceeded."""
        held = await self._reserve(worst, task)
        return BatchHold(held.accounts, held.day, worst, begun=True)

    def adopt(self, task: str, left: Amount) -> BatchHold:
        """The hold of a batch from before a restart: the log has it among what was used."""
        hold = BatchHold(self._accounts(task), None, left, begun=True)
        for account in hold.accounts:
            account.used = account.used.minus(left)
            account.hold(left)
        return hold

    def settle_part(self, hold: BatchHold, part: Amount, used: Usage) -> None:
        """One answer of the batch came; `part` was set aside for it."""
        cost = used.cost if used.cost is not None else part.usd
        self._shift(hold, part, Amount(cost, used.input_tokens + used.output_tokens))
        hold.left = hold.left.minus(part)
        self._warn(hold.accounts)
        self._pump()

    def release(self, hold: BatchHold) -> None:
        """The batch is over: nothing of what is left was used."""
        if hold.begun:
            hold.begun = False
            self.settle(Hold(hold.left, hold.accounts, hold.day), Usage())

    def _shift(self, hold: BatchHold, worst: Amount, used: Amount) -> None:
        for account in hold.accounts:
            account.shift(worst, used)
        if self._day is not None and hold.day is not None:
            self._day.shift(hold.day, worst, used)

    def _pump(self) -> None:
        """Serve who waits, in order: the first that has to go on waiting holds the others up, or it would
        starve."""
        while self._queue:
            future, worst, accounts = self._queue[0]
            if not future.done():
                full = next((a for a in accounts if not a.fits(worst)), None)
                if full is not None and full.open:
                    return
                if full is not None:
                    future.set_exception(full.exceeded(worst))
                elif self._day is not None and not self._day.fits(worst):
                    if self._day.refused is None:
                        self._day.ask(worst, waiting=self._wait_for_day)
                        return
                    future.set_exception(_copy(self._day.refused))
                else:
                    for account in accounts:
                        account.hold(worst)
                    day = self._day.hold(worst) if self._day is not None else None
                    future.set_result(Hold(worst, accounts, day))
            self._queue.popleft()

    async def renew(self, hold: Hold, used: Usage | None) -> Hold:
        """One try of a call is over, as in `settle`, and another follows: set its worst case aside, as `reserve`
        does."""
        self.settle(hold, used)
        return await self._granted(hold.worst, hold.accounts)

    def settle(self, hold: Hold, used: Usage | None, *, before: Amount = NOTHING) -> None:
        """The call is over and used this (None: nobody knows, so its worst case stays counted).

        `before` is what earlier tries of it used, as far as `used` has it too and it was settled already."""
        amount = hold.worst if used is None else amount_of(used.to_json(), hold.worst).minus(before)
        for account in hold.accounts:
            account.settle(hold.worst, amount)
        self._warn(hold.accounts)
        if self._day is not None and hold.day is not None:
            self._day.settle(hold.day, hold.worst, amount)
        self._pump()

    def _warn(self, accounts: tuple[Account, ...]) -> None:
        for account in accounts:
            if not account.said and account.limits.fraction(account.used) >= WARN_AT:
                account.said = True
                self._say("budget.warning", warning(account.name, account.used, account.limits))

    def worst_of(self, request: ChatRequest) -> Amount:
        """The most that a call may use: its tokens as counted or estimated, and a full answer. BudgetExceeded (no
        price)."""
        return worst_of(request, self._prices if self._priced else None)

    def _wait_for_day(self) -> None:
        self._say("task.waiting", {"reason": "today's budget: other runs hold what is left of it"})

    async def aclose(self) -> None:
        """Give the share of the day back."""
        if self._day is not None:
            await self._day.aclose()


def worst_of(request: ChatRequest, prices: PriceBook | None) -> Amount:
    """The most that a call may use. With `prices` in dollars too; then BudgetExceeded for an unknown price."""
    counted, estimated = count_request(request)
    given = counted + int(estimated * _MARGIN)
    answer = request.max_tokens or 0
    if prices is None:
        return Amount(0.0, given + answer)
    usd = prices.cost_of(Usage(input_tokens=given, output_tokens=answer, calls=1), request.model)
    if usd is None:
        raise BudgetExceeded(
            f"the price of {request.model} is unknown, so a budget in dollars cannot be kept",
            hint="Use a budget in tokens, or a model with a known price.",
        )
    return Amount(usd, given + answer)


def warning(scope: str, used: Amount, limits: Limits) -> dict[str, Any]:
    """The data of `budget.warning`."""
    return {
        "scope": scope,
        "used": used.to_json(),
        "budget": {"usd": limits.usd, "tokens": limits.tokens},
        "fraction": round(limits.fraction(used), 3),
    }


def _copy(error: BudgetExceeded) -> PoError:
    return BudgetExceeded(error.message, hint=error.hint, details=dict(error.details))
