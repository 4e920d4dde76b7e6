"""Building the budget guard of a run: from its own limits, those of its tasks, and its owner's day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.daily_share import DailyShare
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits, warning_data
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.replay.spent_from_log import (
    NONE_LOST,
    ZERO,
    Amount,
    LostCalls,
    SpentFromLog,
)
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import draft

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import BudgetWarningData

_SILENCE = 60.0  # s beyond the longest call that a share of the day holds without a report


def build_budget(
    inputs: RunInputs,
    log: RunLog,
    spent: SpentFromLog,
    running: Callable[[], Collection[str]],
    prices: PriceBook | None = None,
    await_price: Callable[[str], Awaitable[None]] | None = None,
) -> BudgetGuard | None:
    """The guard of a run, with the amounts that its log has as used; None when nothing is limited.

    `running` are the tasks that are executed now: they are reported to wait when the day's share is used up.
    """
    state = log.state
    amounts, lost = spent.of_tasks(), spent.lost_of_tasks()
    run = None
    if state.budget.get("usd") or state.budget.get("tokens"):
        limits = BudgetLimits.from_json(state.budget)
        all_lost = LostCalls(sum(one.calls for one in lost.values()), _sum(one.amount for one in lost.values()))
        run = Account("run", limits, _sum(amounts.values()), lost=all_lost, warned="run" in state.warnings)
    tasks = {
        task.name: account
        for task in log.pipeline.tasks
        if (account := task_account(task, state, amounts.get(task.name, ZERO), lost.get(task.name, NONE_LOST)))
    }

    def emit_waiting(reason: str) -> None:
        log.emit(*(draft("task.waiting", task, reason=reason) for task in sorted(running())))

    day = _daily_share(inputs, log)
    if run is None and not tasks and day is None:
        return None
    prices = prices if prices is not None else PriceBook(inputs.settings.prices)
    return BudgetGuard(
        run,
        tasks,
        day,
        on_warning=warning_emitter(log),
        on_wait=emit_waiting,
        prices=prices,
        await_price=await_price,
    )


def warning_emitter(log: RunLog) -> Callable[[BudgetWarningData], None]:
    """A function that emits the warning of a budget as an event of the run."""

    def emit_warning(data: BudgetWarningData) -> None:
        log.emit(draft("budget.warning", **data))

    return emit_warning


def task_account(
    task: Task, state: RunState, used: Amount = ZERO, lost: LostCalls = NONE_LOST
) -> Account | None:
    """The account of a task's own budget, with the amount used before, and of that the calls of unknown outcome; None
    when the task has none."""
    own, of_run = task.budget, (state.budget.get("tasks") or {}).get(task.name)
    if not of_run and own.usd is None and own.tokens is None:
        return None  # as nearly all tasks
    limits = {**own.model_dump(exclude_none=True), **(of_run or {})}
    if not limits:
        return None
    warned = task.name in state.warnings
    return Account(task.name, BudgetLimits.from_json(limits), used, lost=lost, warned=warned)


def _daily_share(inputs: RunInputs, log: RunLog) -> DailyShare | None:
    settings = inputs.settings
    if settings.daily_usd is None and settings.daily_tokens is None:
        return None

    def warn(used: Amount, limits: BudgetLimits) -> None:
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        last = log.state.warnings.get("day")
        if last is None or last.get("day") != today:
            data = warning_data("day", used, limits)
            data["day"] = today
            log.emit(draft("budget.warning", **data))

    return DailyShare(
        log.store,
        inputs.owner,
        inputs.run,
        BudgetLimits(settings.daily_usd, settings.daily_tokens),
        ttl=2 * settings.request_timeout + settings.retry_after_cap + _SILENCE,
        warn=warn,
    )


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = ZERO
    for amount in amounts:
        total = total.plus(amount)
    return total
