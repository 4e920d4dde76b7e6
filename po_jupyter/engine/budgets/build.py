"""Building the budget of a run: its own limits, those of its tasks, and its owner's day."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.budgets.budget import Account, Budget, warning
from po_jupyter.engine.budgets.daily_ledger import Limits
from po_jupyter.engine.budgets.daily_share import DayShare
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.replay.spending import NOTHING, Amount, Spending
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import event_draft

_CALM = 60.0  # s beyond what one call may take that a share of the day holds without a word


def build_budget(
    inputs: RunInputs, log: RunLog, spending: Spending, running: Callable[[], Collection[str]]
) -> Budget | None:
    """The budget that limits the calls of a run, with what its log has as used; None when nothing is limited.

    `running` are the tasks that are executed now: those are said to wait when the day's share is used up.
    """
    state = log.state
    spent = spending.of_tasks()
    run = None
    if state.budget.get("usd") or state.budget.get("tokens"):
        run = Account("run", state.budget, _sum(spent), said="run" in state.warnings)
    tasks = {
        task.name: account
        for task in log.pipeline.tasks
        if (account := task_account(task, state, spent.get(task.name, Amount())))
    }

    def emit_event(type: str, data: Mapping[str, Any]) -> None:
        if type == "task.waiting":
            log.emit(*(event_draft(type, task, None, data) for task in sorted(running())))
        else:
            log.emit(event_draft(type, None, None, data))

    def warn_of_day(used: Amount, limits: Limits) -> None:
        last = log.state.warnings.get("day")
        if last is None or last.get("day") != _today():
            emit_event("budget.warning", {**warning("day", used, limits), "day": _today()})

    day = _day_share(inputs, log, warn_of_day)
    if run is None and not tasks and day is None:
        return None
    return Budget(run, tasks, day, say=emit_event, prices=PriceBook(inputs.settings.prices))


def task_account(task: Task, state: RunState, used: Amount = NOTHING) -> Account | None:
    """The account of a task's own budget, with what it used before; None when the task has none."""
    limits = {
        **task.budget.model_dump(exclude_none=True),
        **(state.budget.get("tasks") or {}).get(task.name, {}),
    }
    return Account(task.name, limits, used, said=task.name in state.warnings) if limits else None


def _day_share(inputs: RunInputs, log: RunLog, warn: Callable[[Amount, Limits], None]) -> DayShare | None:
    settings = inputs.settings
    if settings.daily_usd is None and settings.daily_tokens is None:
        return None
    return DayShare(
        log.store,
        inputs.owner,
        inputs.run,
        Limits(settings.daily_usd, settings.daily_tokens),
        ttl=2 * settings.request_timeout + settings.retry_after_cap + _CALM,
        warn=warn,
    )


def _sum(amounts: Mapping[str, Amount]) -> Amount:
    total = Amount()
    for amount in amounts.values():
        total = total.plus(amount)
    return total


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
