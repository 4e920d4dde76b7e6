"""Which budgets a run has: its own, those of its tasks, and its owner's day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.budgets.budget import Account, Budget, warning
from po_jupyter.engine.budgets.daily_ledger import Limits
from po_jupyter.engine.budgets.daily_share import DayShare
from po_jupyter.engine.replay.spending import Amount
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import event_draft

if TYPE_CHECKING:
    from po_jupyter.engine.run.session import Work

_CALM = 60.0  # s beyond what one call may take that a share of the day holds without a word


def budget_of(work: Work) -> Budget | None:
    """The budget that holds the calls of a run, with what its log says was used; None when nothing is
    limited."""
    state, settings = work.state, work.settings
    spent = work.history.spending.of_tasks()
    run = None
    if state.budget.get("usd") or state.budget.get("tokens"):
        run = Account("run", state.budget, _sum(spent), said="run" in state.warnings)
    tasks = {
        task.name: Account(task.name, limits, spent.get(task.name, Amount()), said=task.name in state.warnings)
        for task in work.pipeline.tasks
        if (limits := _limits(task, state.budget))
    }
    day = None
    if settings.daily_usd is not None or settings.daily_tokens is not None:
        day = DayShare(
            work.store,
            state.owner,
            work.run,
            Limits(settings.daily_usd, settings.daily_tokens),
            ttl=2 * settings.request_timeout + settings.retry_after_cap + _CALM,
        )
    if run is None and not tasks and day is None:
        return None

    def say(type: str, data: Mapping[str, Any]) -> None:
        if type == "task.waiting":
            work.emit(*(event_draft(type, task, None, data) for task in sorted(work.running)))
        else:
            work.emit(event_draft(type, None, None, data))

    def warn(used: Amount, limits: Limits) -> None:
        said = work.state.warnings.get("day")
        if said is None or said.get("day") != _today():
            say("budget.warning", {**warning("day", used, limits), "day": _today()})

    if day is not None:
        day.warn = warn
    return Budget(run, tasks, day, say=say, prices=work.prices)


def admit(work: Work, task: Task) -> None:
    """Hold the calls of a task that another one added to its own budget too."""
    limits = _limits(task, work.state.budget)
    if not limits:
        return
    if work.budget is None:
        work.budget = Budget(
            say=lambda type, data: work.emit(event_draft(type, None, None, data)), prices=work.prices
        )
    work.budget.add(Account(task.name, limits, said=task.name in work.state.warnings))


def _limits(task: Task, budget: Mapping[str, Any]) -> dict[str, Any]:
    given = task.budget.model_dump(exclude_none=True)
    return {**given, **(budget.get("tasks") or {}).get(task.name, {})}


def _sum(amounts: Mapping[str, Amount]) -> Amount:
    total = Amount()
    for amount in amounts.values():
        total = total.plus(amount)
    return total


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
