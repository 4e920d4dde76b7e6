"""`ctx.llm.parallel`: many calls of one stage, with what a map promises for its rows (R2.6).

A call that fails is data, with its place and its error; only failed calls are tried again; too many failures
stop new calls and keep what was answered. Nothing is swallowed and there is no hole: as many results as requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from po_jupyter.engine.base.failure_threshold import allowed_failures
from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.base.tracebacks import as_po_error
from po_jupyter.errors import (
    BudgetExceeded,
    InvalidInput,
    ModelKeyError,
    PoError,
    StoreError,
    ThresholdExceeded,
)
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.pipeline.violations import violations_of
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.platform.concurrency import gather_or_cancel

MAX_CONCURRENCY = 1000  # at the same time, as `max_concurrency` of a map


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one request: an `answer`, or the `error` of its last attempt."""

    index: int
    answer: Answer | None = None
    error: PoError | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.answer is not None

    @property
    def output(self) -> Any:
        """The JSON value where JSON was requested, else the text; None without an answer."""
        if self.answer is None:
            return None
        return self.answer.text if self.answer.value is None else self.answer.value

    def to_json(self) -> JsonObject:
        """`{index, ok, output, error}`, like a row of a map; instances of a class become JSON."""
        error = self.error.to_json() if self.error is not None else None
        output = to_jsonable_python(self.output)
        return {"index": self.index, "ok": self.ok, "output": output, "error": error}


class Results(Sequence[Result]):
    """A result for each request, in the order of the requests."""

    def __init__(self, results: Sequence[Result]) -> None:
        """The results, in the order of their requests."""
        self._results = tuple(results)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | Sequence[Result]:
        """One result, or those of a slice."""
        return self._results[index]

    def __len__(self) -> int:
        """The number of requests."""
        return len(self._results)

    def __repr__(self) -> str:
        """The numbers of results and of failures."""
        return f"<{len(self)} results, {len(self.failures)} failed>"

    @property
    def successes(self) -> list[Result]:
        """The results with an answer."""
        return [r for r in self._results if r.ok]

    @property
    def failures(self) -> list[Result]:
        """The results without an answer."""
        return [r for r in self._results if not r.ok]

    @property
    def outputs(self) -> list[Any]:
        """The output of each request, None where it failed."""
        return [r.output for r in self._results]

    @property
    def usage(self) -> Usage:
        """The usage of the answers; that of failed calls is in the task's only."""
        total = Usage()
        for result in self._results:
            if result.answer is not None:
                total = total + result.answer.usage
        return total

    def raise_for_failures(self) -> Results:
        """Raise the first error, if there is one; the results otherwise."""
        for result in self._results:
            if result.error is not None:
                raise result.error
        return self

    def to_json(self) -> list[JsonObject]:
        """`{index, ok, output, error}` of each: what a stage can return."""
        return [r.to_json() for r in self._results]


def retry_of(retry: CallRetry | Mapping[str, JsonValue] | int | None) -> CallRetry | None:
    """The retry settings of a call: a number of attempts, the fields of `llm.retry`, or None for the task's own.

    It takes the place of `llm.retry`, so that there is one layer of retries (P7). Raises InvalidInput.
    """
    if retry is None or isinstance(retry, CallRetry):
        return retry
    fields = {"max_attempts": retry} if isinstance(retry, int) else dict(retry)
    try:
        return CallRetry.model_validate(fields)
    except ValidationError as error:
        violations = violations_of(error, known=tuple(CallRetry.model_fields), what="`retry`")
        raise InvalidInput("llm.parallel:", violations=violations) from None


def check_concurrency(value: object, where: str) -> None:
    """Check how many calls may be in flight. Raises InvalidInput."""
    if type(value) is not int or not 1 <= value <= MAX_CONCURRENCY:
        raise InvalidInput(f"{where}: `max_concurrency` is 1 to {MAX_CONCURRENCY}, not {value!r:.20}")


async def run_parallel(
    calls: Sequence[Callable[[], Awaitable[Answer]]],
    *,
    max_concurrency: int,
    failure_threshold: float,
) -> Results:
    """Make each of `calls`, a bounded number at a time.

    Raises ThresholdExceeded, BudgetExceeded or ModelKeyError once the calls in flight have ended, with the results so
    far in the error's `results`.
    """
    check_concurrency(max_concurrency, "llm.parallel")
    if not 0 <= failure_threshold <= 1:
        raise InvalidInput(f"llm.parallel: `failure_threshold` is 0 to 1, not {failure_threshold!r:.20}")
    return await _ParallelCalls(calls, failure_threshold).run(max_concurrency)


class _ParallelCalls:
    """The calls of one `llm.parallel`, their results, and the error that ends them."""

    def __init__(self, calls: Sequence[Callable[[], Awaitable[Answer]]], threshold: float) -> None:
        self.calls = calls
        self.threshold = threshold
        self.results: list[Result | None] = [None] * len(calls)
        self.failed = 0
        self.ended_by: PoError | None = None  # then no further request is sent
        self.stop: Interrupt | None = None

    async def run(self, width: int) -> Results:
        todo = iter(range(len(self.calls)))
        await gather_or_cancel(self._worker(todo) for _ in range(min(width, len(self.calls))))
        if self.stop is not None:
            raise self.stop
        results = Results([r or Result(i, error=self._not_sent()) for i, r in enumerate(self.results)])
        if self.ended_by is not None:
            self.ended_by.results = results  # type: ignore[attr-defined]  # those that there are
            raise self.ended_by
        return results

    async def _worker(self, todo: Iterator[int]) -> None:
        for index in todo:
            if self.ended_by is not None or self.stop is not None:
                return
            try:
                await self._make(index)
            except Interrupt as stop:
                # A drain: the others finish the call that they are in, and stop at their next one.
                self.stop = stop
                return

    async def _make(self, index: int) -> None:
        try:
            self.results[index] = Result(index, await self.calls[index]())
            return
        except (Interrupt, StoreError):
            raise
        except Exception as raised:
            error = as_po_error(raised)
        self.results[index] = Result(index, error=error)
        if isinstance(error, BudgetExceeded | ModelKeyError):
            self.ended_by = self.ended_by or error  # not this request's fault, and no other would do better
            return
        error.details.setdefault("request", index)
        self.failed += 1
        self._check_threshold()

    def _check_threshold(self) -> None:
        total = len(self.calls)
        if self.ended_by is None and self.failed / total > self.threshold:
            self.ended_by = ThresholdExceeded(
                f"{self.failed} of {total} calls failed; failure_threshold {self.threshold:g} "
                f"allows {allowed_failures(self.threshold, total)}",
                hint="What was answered is in the error's `results`.",
                details={"failed": self.failed, "total": total},
            )

    def _not_sent(self) -> PoError:
        reason = self.ended_by.message if self.ended_by is not None else "stopped"
        return PoError(f"not asked: {reason}", details={"asked": False})
