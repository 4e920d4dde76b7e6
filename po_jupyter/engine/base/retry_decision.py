"""The decision whether a failed attempt of a task or of a row of a map is followed by another (P7)."""

from __future__ import annotations

from po_jupyter.errors import (
    AnswerUnreadable,
    BudgetExceeded,
    ModelError,
    OutputInvalid,
    PoError,
    StageFailed,
    StageTimeout,
)
from po_jupyter.model.pipeline.task_parts import TaskRetry


def should_retry(error: PoError, attempts: int, policy: TaskRetry) -> bool:
    """Whether the attempt that ended with `error`, the `attempts`-th since the last resume, is followed by another."""
    return may_retry(error) and attempts < policy.max_attempts


def may_retry(error: PoError) -> bool:
    """True when a new attempt can have another outcome.

    Not for model errors: the transient ones have spent `llm.retry`, the others stay as they are. Not for
    answers that do not fit: those were asked again by `refine`. One layer of retries each (P7).
    """
    if isinstance(error, ModelError | OutputInvalid | AnswerUnreadable | BudgetExceeded):
        return False
    return isinstance(error, StageFailed | StageTimeout) and not error.permanent
