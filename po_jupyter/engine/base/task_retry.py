"""Retries of tasks and rows: the failed attempts that are followed by another (P7)."""

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


def may_retry(error: PoError) -> bool:
    """Whether a new attempt can change what happened.

    Not for model errors: the transient ones have spent `llm.retry`, the others stay as they are. Not for
    answers that do not fit: those were asked again by `refine`. One layer of retries each (P7).
    """
    if isinstance(error, ModelError | OutputInvalid | AnswerUnreadable | BudgetExceeded):
        return False
    return isinstance(error, StageFailed | StageTimeout) and not error.permanent
