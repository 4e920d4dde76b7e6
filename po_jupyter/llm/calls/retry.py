"""The one retry layer for calls (P7): transient errors only, each attempt told, the server's wish honoured."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import tenacity

from po_jupyter.errors import ModelError
from po_jupyter.model.pipeline.pipeline import CallRetry

T = TypeVar("T")
OnWait: TypeAlias = Callable[[int, float, ModelError], None]

RETRY_AFTER_CAP = 60.0


def delay_after(
    attempt: int, retry: CallRetry, retry_after: float | None = None, *, cap: float = RETRY_AFTER_CAP
) -> float:
    """Seconds to wait after failed attempt number `attempt` (1-based).

    Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015). When
    the server asked for a wait, at least that, up to `cap`, and up to a tenth more, so that the
    callers of one window do not come back at the same moment.
    """
    jittered = random.uniform(0, min(retry.max_delay, retry.initial_delay * retry.multiplier ** (attempt - 1)))
    if retry_after is None:
        return jittered
    asked = min(retry_after, cap)
    return max(jittered, asked + random.uniform(0, 0.1 * asked))


async def with_retry(
    call: Callable[[], Awaitable[T]],
    retry: CallRetry,
    *,
    on_wait: OnWait | None = None,
    cap: float = RETRY_AFTER_CAP,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """`await call()`, at most `retry.max_attempts` times.

    `on_wait(attempt, delay, error)` is told before each wait which attempt failed, how long the wait is in
    seconds, and why. The last error is raised as it came, with the number of attempts in its `details`.
    """

    # Nearly every call succeeds at once, and tenacity's bookkeeping costs as much as sending the request: the
    # first try goes without it, and its failure is handed over as the outcome of attempt 1.
    try:
        return await call()
    except ModelError as error:
        if not error.transient or retry.max_attempts == 1:
            error.details.setdefault("attempts", 1)
            raise
        failed = [error]

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ModelError) and error.at_once:
            return 0.0  # the next attempt goes another way: nothing to wait for
        asked = error.retry_after if isinstance(error, ModelError) else None
        return delay_after(state.attempt_number, retry, asked, cap=cap)

    def before(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if on_wait is not None and isinstance(error, ModelError):
            on_wait(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, error)

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(retry.max_attempts),
        wait=wait,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, ModelError) and error.transient),
        before_sleep=before,
        reraise=True,
        sleep=sleep,
    )

    async def once() -> T:
        if failed:
            raise failed.pop()
        return await call()

    try:
        return await retrying(once)
    except ModelError as error:
        error.details.setdefault("attempts", retrying.statistics.get("attempt_number", 1))
        raise
