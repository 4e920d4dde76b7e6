"""Retry with exponential backoff: the one retry layer of calls, and the backoff formula of every layer (P7).

Only transient model errors are retried. Each wait is reported, and a server's `Retry-After` is honoured up to a cap.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from po_jupyter.errors import ModelError, ModelRateLimited
from po_jupyter.model.pipeline.pipeline import CallRetry

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")
OnWait: TypeAlias = Callable[[int, float, ModelError], None]
"""`(failed attempt, seconds until the next one, its error)`, called before each wait."""

RETRY_AFTER_CAP = 60.0  # s
_LONGEST_AFTER_REFUSAL = 8.0  # s


def backoff_delay(attempt: int, retry: CallRetry) -> float:
    """Seconds to wait after failed attempt number `attempt` (1-based).

    Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    return random.uniform(0, min(retry.max_delay, retry.initial_delay * retry.multiplier ** (attempt - 1)))


def retry_delay(
    attempt: int,
    retry: CallRetry,
    retry_after: float | None = None,
    *,
    cap: float = RETRY_AFTER_CAP,
) -> float:
    """Seconds to wait after failed attempt number `attempt` (1-based) of a call.

    The backoff; when the server asked for a wait, that, up to `cap`, and up to a twentieth more, so
    that the callers of one window do not come back at the same moment.
    """
    if not retry_after:
        return backoff_delay(attempt, retry)
    requested = min(retry_after, cap)
    return requested + random.uniform(0, 0.05 * requested)


def refused_delay(attempt: int, retry: CallRetry) -> float:
    """Seconds to wait after failed attempt number `attempt` (1-based) that a server refused (429) without a word of how
    long: 0.5 s, doubled each time, at most 8, up to a quarter less, as the vendors' SDKs wait.
    """
    delay = retry.initial_delay / 2 * retry.multiplier ** (attempt - 1)
    return min(delay, retry.max_delay, _LONGEST_AFTER_REFUSAL) * random.uniform(0.75, 1.0)


async def with_retry(
    call: Callable[[], Awaitable[T]],
    retry: CallRetry,
    *,
    on_wait: OnWait | None = None,
    cap: float = RETRY_AFTER_CAP,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """`await call()`, at most `retry.max_attempts` times.

    The last error is raised as it came, with the number of attempts in its `details`.
    """
    # Nearly every call succeeds at once, and tenacity's bookkeeping costs as much as sending the request: the
    # first attempt goes without it, and its failure is handed over as the outcome of attempt 1.
    try:
        return await call()
    except ModelError as error:
        if not error.transient or retry.max_attempts == 1:
            error.details.setdefault("attempts", 1)
            raise
        first = error
    return await _Retrying(call, retry, first, on_wait, cap).run(sleep)


class _Retrying(Generic[T]):
    """The further attempts of a call whose first one failed with a transient error."""

    def __init__(
        self,
        call: Callable[[], Awaitable[T]],
        retry: CallRetry,
        first: ModelError,
        on_wait: OnWait | None,
        cap: float,
    ) -> None:
        self._call = call
        self._retry = retry
        self._first: ModelError | None = first
        self._on_wait = on_wait
        self._cap = cap

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> T:
        import tenacity  # it brings tornado: most workers need neither

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._retry.max_attempts),
            wait=self._delay,
            retry=tenacity.retry_if_exception(_is_transient),
            before_sleep=self._report,
            reraise=True,
            sleep=sleep,
        )
        try:
            return await retrying(self._attempt)
        except ModelError as error:
            error.details.setdefault("attempts", retrying.statistics.get("attempt_number", 1))
            raise

    async def _attempt(self) -> T:
        if self._first is not None:
            first, self._first = self._first, None
            raise first
        return await self._call()

    def _delay(self, state: tenacity.RetryCallState) -> float:
        error = _error_of(state)
        if error is not None and error.at_once:
            return 0.0  # the next attempt goes another way: nothing to wait for
        retry_after = error.retry_after if error is not None else None
        if isinstance(error, ModelRateLimited) and not retry_after:
            return refused_delay(state.attempt_number, self._retry)
        return retry_delay(state.attempt_number, self._retry, retry_after, cap=self._cap)

    def _report(self, state: tenacity.RetryCallState) -> None:
        error = _error_of(state)
        if self._on_wait is not None and error is not None:
            self._on_wait(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, error)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.transient


def _error_of(state: tenacity.RetryCallState) -> ModelError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, ModelError) else None
