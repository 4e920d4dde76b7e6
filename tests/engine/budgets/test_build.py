"""Which budget a run gets: from its own limits, its tasks', its owner's day, and what its log has as used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.budgets.build import build_budget, task_account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.replay.spent_from_log import Amount, SpentFromLog
from po_jupyter.errors import BudgetExceeded
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN, inputs_of, new_run

REQUEST = ChatRequest("fake:echo", (Message("user", "x"),), max_tokens=100)


class Spent(SpentFromLog):
    """What a log would have as used."""

    def __init__(self, **tokens: int) -> None:
        super().__init__()
        self._tokens = tokens

    def of_tasks(self) -> dict[str, Amount]:
        return {task: Amount(0.0, tokens) for task, tokens in self._tokens.items()}


def built(
    tmp: Path, tasks: list[dict[str, Any]], spent: Spent | None = None, **more: Any
) -> tuple[BudgetGuard | None, RunLog]:
    store = MemoryStore()
    settings = more.pop("settings", {})
    pipeline = new_run(store, {"name": "p", "tasks": tasks, **more}, {})
    log = RunLog(store, store.claim(RUN, {"pid": 1}), read_history(store, RUN), pipeline)
    inputs = inputs_of(tmp, tasks, settings=settings, **more)
    return build_budget(inputs, log, spent or Spent(), lambda: ["b", "a"]), log


def test_nothing_is_limited(tmp_path: Path) -> None:
    assert built(tmp_path, [{"name": "a", "prompt": "a"}])[0] is None


async def test_the_runs_limit_counts_what_all_tasks_used(tmp_path: Path) -> None:
    budget, _ = built(tmp_path, [{"name": "a", "prompt": "a"}], Spent(a=500, b=450), budget={"tokens": 1000})
    assert budget is not None
    with pytest.raises(BudgetExceeded) as caught:
        await budget.reserve(REQUEST, "a")
    assert caught.value.details["used"]["tokens"] == 950


async def test_a_tasks_limit_counts_that_task_alone(tmp_path: Path) -> None:
    tasks = [{"name": "a", "prompt": "a", "budget": {"tokens": 500}}, {"name": "b", "prompt": "b"}]
    budget, log = built(tmp_path, tasks, Spent(a=450, b=10_000))
    assert budget is not None
    await budget.reserve(REQUEST, "b")
    with pytest.raises(BudgetExceeded, match="task 'a'"):
        await budget.reserve(REQUEST, "a")
    assert task_account(Task(name="new", prompt="x"), log.state) is None
    account = task_account(Task(name="new", prompt="x", budget={"tokens": 7}), log.state)
    assert account is not None and account.limits.tokens == 7


async def test_a_warning_is_an_event_of_the_run(tmp_path: Path) -> None:
    budget, log = built(tmp_path, [{"name": "a", "prompt": "a"}], Spent(a=750), budget={"tokens": 1000})
    assert budget is not None
    hold = await budget.reserve(REQUEST, "a")
    budget.settle(hold, Usage(input_tokens=100, calls=1))
    assert set(log.state.warnings) == {"run"}
    await log.aclose()
    assert [e["type"] for e in log.store.events(RUN)][-1] == "budget.warning"


async def test_the_owners_day_limits_a_run_without_limits_of_its_own(tmp_path: Path) -> None:
    budget, _ = built(tmp_path, [{"name": "a", "prompt": "a"}], settings={"daily_tokens": 50})
    assert budget is not None
    with pytest.raises(BudgetExceeded):
        await budget.reserve(REQUEST, "a")
    await budget.aclose()
