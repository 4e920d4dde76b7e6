"""Live maps, with a model call for each row: a bounded window of coroutines takes the rows in order.

rows ──► window (max_concurrency) ──► a row's lifecycle, its retries ──► durable outcome, by group commit
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import islice

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.base.retry_decision import should_retry
from po_jupyter.engine.base.tracebacks import as_po_error
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.engine.maps.dependencies import AnswerNotes
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.row_code import MapRow
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.votes.learned_cascade import LearnedCascade
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PoError, StoreError
from po_jupyter.llm.calls.retry import backoff_delay
from po_jupyter.model.pipeline.evals.learned_cascade import SampledAnswer
from po_jupyter.platform.concurrency import gather_or_cancel
from po_jupyter.store.protocol import LogStore
from po_jupyter.telemetry import correlation

_COMMON_ROWS = 3  # rows that are compared for what all have in common


class LiveMap:
    """A map whose rows are worked on one by one, with retries of their own."""

    def __init__(self, state: MapState) -> None:
        """Over the rows of `state`."""
        self._state = state

    async def run(self) -> None:
        """Work on every row without an outcome, or until the map stops or the worker drains."""
        state = self._state
        indexes = state.open_indexes()
        window = min(state.task.max_concurrency, state.remaining)
        compared = _COMMON_ROWS * len(state.task.variants or (0,))
        if state.remaining >= max(compared, 2 * window):
            # The rows of the first window all write what the later ones read: fewer would pay more than they save.
            state.code.share([state.row(index) for index in islice(state.open_indexes(), compared)])
        if state.code.learned is not None and state.code.learned.decided is None:
            await self._learn(state.code.learned, window)
        await gather_or_cancel(self._worker(indexes) for _ in range(window))

    async def _learn(self, learned: LearnedCascade, window: int) -> None:
        """Work on the rows of the sample, and decide the threshold once they all have an outcome."""
        state, log = self._state, self._state.parts.log
        sample = (index for index in state.open_indexes() if index in learned.sample)
        await gather_or_cancel(self._worker(sample) for _ in range(window))
        if any(index not in state.table for index in learned.sample):
            return  # the map stops, or a resume named other rows
        await state.flush()
        answers = await asyncio.to_thread(sampled_answers, log.store, log.run, state.task.name)
        log.emit(learned.decide(answers[index] for index in sorted(answers.keys() & learned.sample)))
        await state.flush()  # before a row goes by it

    async def _worker(self, indexes: Iterator[int]) -> None:
        state, boundary = self._state, self._state.parts.boundary
        for index in indexes:
            if state.error is not None or boundary.draining:
                return
            state.in_flight += 1
            try:
                await self._row(index)
            except Drained:
                return
            finally:
                state.in_flight -= 1

    async def _row(self, index: int) -> None:
        """Try a row until it has an outcome."""
        state, task = self._state, self._state.task
        row = state.row(index)
        key = state.code.key(row)
        usage = UsageSum()
        number = 0
        while True:
            number += 1
            error = await self._attempt(row, key, number, usage)
            if error is None:
                break
            if isinstance(error, BudgetExceeded | ModelKeyError):
                # Not this row's fault, and no other row would do better: it stays open for a resume.
                state.stop(error)
                state.report_usage(index, state.code.stage, usage.to_json())
                return
            if not should_retry(error, number, task.retry):
                state.fail(index, key, usage, error)
                break
            await state.parts.boundary.sleep(backoff_delay(number, task.retry))
        if state.must_flush:
            await state.flush()

    async def _attempt(self, row: MapRow, key: str, number: int, usage: UsageSum) -> PoError | None:
        """One attempt of a row: None once its outcome is queued, else its error. Adds to `usage`.

        Raises an Interrupt or StoreError.
        """
        state, task, code, parts = self._state, self._state.task, self._state.code, self._state.parts
        index, observer = row.index, parts.observer
        again = state.is_again(index) or number > 1
        place, variant = state.place_of(index)
        before, asking = state.attempt_before(index), state.tasks[variant]
        calls = parts.calls.calls(asking, before + number, index, again=again, variant=variant)
        frame = Frame(task, number, code.stage_item(row), index)
        correlation.place.set(frame.log_fields)
        observer.on_row_start(task, index, number)
        run = partial(
            run_stages,
            seconds=task.timeout,
            boundary=parts.boundary.checkpoint,
            hold=parts.boundary.hold,
        )
        try:
            voted = await code.output(calls, row, frame, run)
            output, scores = code.finish(voted.output), None
            if code.scoring is not None:
                scores = await code.scoring.scores(calls, frame, run, row.item, output, place=place)
            await parts.files.keep(task.name, index)
        except BaseException as raised:
            if not isinstance(raised, Exception) or isinstance(raised, StoreError):
                self._report_stopped(frame, calls)
                observer.on_row_end(task, index, number, calls.usage, raised)
                raise
            error = as_po_error(raised)
            parts.snapshots.write(frame, error)
            used = calls.usage
            usage.add(used)
            calls.drop()
            await parts.files.take_back(task.name, index)
            observer.on_row_end(task, index, number, used, error)
            return error
        used = calls.usage
        usage.add(used)
        observer.on_row_end(task, index, number, used, None)
        if code.dependencies is not None and code.dependencies.unknown:
            await asyncio.to_thread(code.dependencies.fill)
        notes = AnswerNotes(voted.votes, scores, voted.sampled, voted.alone)
        state.succeed(index, key, usage, output, calls.addresses, notes)
        calls.keep()
        return None

    def _report_stopped(self, frame: Frame, calls: ModelCalls) -> None:
        """Report the usage of a row that a stop interrupted: it has no outcome to be in. After a drain it goes on."""
        state = self._state
        if not state.parts.boundary.draining and frame.index is not None:
            attempt = state.attempt_before(frame.index) + frame.attempt
            state.report_usage(frame.index, frame.stage, calls.usage.to_json(), attempt)


def sampled_answers(store: LogStore, run: str, task: str) -> dict[int, SampledAnswer]:
    """How the two answers of each row compare that has both, by its newest outcome. Blocks on the store."""
    found: dict[int, SampledAnswer] = {}
    for record in store.records(run):
        for event in record["events"]:
            if event["type"] == "run.resumed" and task in event["data"].get("clear", ()):
                found = {}
        for item in record["items"]:
            if item["task"] == task:
                found.pop(item["index"], None)
                if (sampled := item.get("sampled")) is not None:
                    found[item["index"]] = sampled
    return found
