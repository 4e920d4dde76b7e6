"""P7: one layer of retries for each kind of failure."""

from __future__ import annotations

import pytest

from po_jupyter.engine.base.task_retry import may_retry
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
