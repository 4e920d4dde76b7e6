"""`ctx.llm.parallel`: many calls of one stage, with what a map promises for its rows (R2.6).

A call that fails is data, with its place and its error; only failed calls are asked again; too many failures
stop new calls and keep what was answered. Nothing is swallowed and there is no hole: as many results as requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

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
    """What became of one request: an `answer`, or the `error` of its last attempt."""

    index: int
    answer: Answer | None = None
    error: PoError | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.answer is not None

    @property
    def output(self) -> Any:
        """The JSON value where JSON was asked for, else the text; None without an answer."""
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
        self._results = tuple(results)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | Sequence[Result]:
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"<{len(self)} results, {len(self.failures)} failed>"

    @property
    def successes(self) -> list[Result]:
        """Those with an answer."""
        return [r for r in self._results if r.ok]

    @property
    def failures(self) -> list[Result]:
        """Those without."""
        return [r for r in self._results if not r.ok]

    @property
    def outputs(self) -> list[Any]:
        """The output of each request, None where it failed."""
        return [r.output for r in self._results]

    @property
    def usage(self) -> Usage:
        """What the answers used; failed calls are in the task's usage only."""
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


def retry_of(given: CallRetry | Mapping[str, JsonValue] | int | None) -> CallRetry | None:
    """How often a call is tried: a number of attempts, the fields of `llm.retry`, or None for the task's own.

    It takes the place of `llm.retry`, so that there is one layer of retries (P7). Raises InvalidInput.
    """
    if given is None or isinstance(given, CallRetry):
        return given
    fields = {"max_attempts": given} if isinstance(given, int) else dict(given)
    try:
        return CallRetry.model_validate(fields)
    except ValidationError as error:
        found = violations_of(error, known=tuple(CallRetry.model_fields), what="`retry`")
        raise InvalidInput("llm.parallel:", violations=found) from None


async def run_parallel(
    asks: Sequence[Callable[[], Awaitable[Answer]]],
    *,
    max_concurrency: int,
    failure_threshold: float,
) -> Results:
    """Call each of `asks`, a bounded number at a time.

    Raises ThresholdExceeded, BudgetExceeded or ModelKeyError once the calls in flight have ended, with what there
    is in the error's `results`.
    """
    if type(max_concurrency) is not int or not 1 <= max_concurrency <= MAX_CONCURRENCY:
        raise InvalidInput(
            f"llm.parallel: `max_concurrency` is 1 to {MAX_CONCURRENCY}, not {max_concurrency!r:.20}"
        )
    if not 0 <= failure_threshold <= 1:
        raise InvalidInput(f"llm.parallel: `failure_threshold` is 0 to 1, not {failure_threshold!r:.20}")
    return await _Window(asks, failure_threshold).run(max_concurrency)


class _Window:
    def __init__(self, asks: Sequence[Callable[[], Awaitable[Answer]]], threshold: float) -> None:
        self.asks = asks
        self.threshold = threshold
        self.results: list[Result | None] = [None] * len(asks)
        self.failed = 0
        self.over: PoError | None = None  # no further request is sent
        self.stop: Interrupt | None = None

    async def run(self, width: int) -> Results:
        todo = iter(range(len(self.asks)))
        await gather_or_cancel(self._worker(todo) for _ in range(min(width, len(self.asks))))
        if self.stop is not None:
            raise self.stop
        results = Results([r or Result(i, error=self._unasked()) for i, r in enumerate(self.results)])
        if self.over is not None:
            self.over.results = results  # type: ignore[attr-defined]  # what there is, for who catches it
            raise self.over
        return results

    async def _worker(self, todo: Iterator[int]) -> None:
        for index in todo:
            if self.over is not None or self.stop is not None:
                return
            try:
                await self._one(index)
            except Interrupt as stop:
                # A drain: the others finish the call that they are in, and stop at their next one.
                self.stop = stop
                return

    async def _one(self, index: int) -> None:
        try:
            self.results[index] = Result(index, await self.asks[index]())
            return
        except (Interrupt, StoreError):
            raise
        except Exception as raised:
            error = as_po_error(raised)
        self.results[index] = Result(index, error=error)
        if isinstance(error, BudgetExceeded | ModelKeyError):
            self.over = self.over or error  # not this request's fault, and no other would do better
            return
        error.details.setdefault("request", index)
        self.failed += 1
        self._judge()

    def _judge(self) -> None:
        total = len(self.asks)
        if self.over is None and self.failed / total > self.threshold:
            self.over = ThresholdExceeded(
                f"{self.failed} of {total} calls failed; failure_threshold {self.threshold:g} "
                f"allows {int(self.threshold * total)}",
                hint="What was answered is in the error's `results`.",
                details={"failed": self.failed, "total": total},
            )

    def _unasked(self) -> PoError:
        reason = self.over.message if self.over is not None else "stopped"
        return PoError(f"not asked: {reason}", details={"asked": False})
