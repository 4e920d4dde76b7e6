"""Which failed attempts of a task or a row are followed by another, and when (P7)."""

from __future__ import annotations

import random

from po_jupyter.errors import (
    AnswerUnreadable,
    BudgetExceeded,
    ModelError,
    OutputInvalid,
    PoError,
    StageFailed,
    StageTimeout,
)
from po_jupyter.model.pipeline.pipeline import CallRetry


def may_retry(error: PoError) -> bool:
    """Whether a new attempt can change what happened.

    Not for model errors: the transient ones have spent `llm.retry`, the others stay as they are. Not for
    answers that do not fit: those were asked again by `refine`. One layer of retries each (P7).
    """
    if isinstance(error, ModelError | OutputInvalid | AnswerUnreadable | BudgetExceeded):
        return False
    return isinstance(error, StageFailed | StageTimeout) and not error.permanent


def delay_before(attempt: int, retry: CallRetry) -> float:
    """Seconds before the attempt that follows failed attempt number `attempt` (1-based).

    Exponential with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    return random.uniform(0, min(retry.max_delay, retry.initial_delay * retry.multiplier ** (attempt - 1)))
