"""P7: one layer of retries for each kind of failure."""

from __future__ import annotations

import pytest

from po_jupyter.engine.base.retry_decision import may_retry, should_retry
from po_jupyter.errors import (
    BudgetExceeded,
    InvalidInput,
    ModelUnavailable,
    OutputInvalid,
    PoError,
    StageFailed,
    StageTimeout,
    ToolFailed,
)
from po_jupyter.model.pipeline.task_parts import TaskRetry


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (StageFailed("raised"), True),
        (StageTimeout("late"), True),
        (ToolFailed("no answer"), True),
        (StageFailed("no module", permanent=True), False),
        (ModelUnavailable("llm.retry is spent"), False),
        (OutputInvalid("refine is spent"), False),
        (BudgetExceeded("spent"), False),
        (InvalidInput("wrong"), False),
    ],
)
def test_which_failures_another_attempt_may_change(error: PoError, retried: bool) -> None:
    assert may_retry(error) is retried


def test_the_last_attempt_is_followed_by_none() -> None:
    policy = TaskRetry(max_attempts=3)
    assert [should_retry(StageFailed("raised"), attempts, policy) for attempts in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    assert not should_retry(BudgetExceeded("spent"), 1, policy)
