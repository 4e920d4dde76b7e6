"""The runner of a batch map's rows: takes a row through its stages as far as known answers carry it."""

from __future__ import annotations

from functools import partial

from po_jupyter.engine.base.tracebacks import as_po_error
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.engine.maps.batches.row_calls import BatchAnswer, BatchCalls, NeedsAnswer
from po_jupyter.engine.maps.dependencies import AnswerNotes
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.errors import BudgetExceeded, ModelKeyError, StoreError
from po_jupyter.telemetry import correlation


class RowRunner:
    """Runs rows whose answers come from the journal, the cache and batches."""

    def __init__(self, state: MapState) -> None:
        """Over the rows of `state`."""
        self._state = state

    async def run(
        self, index: int, attempt: int, answer: BatchAnswer | None = None
    ) -> tuple[NeedsAnswer | None, BatchCalls]:
        """Take a row to its outcome (None), or to the request that nothing answers yet; and its calls.

        `attempt` is that of the map when the row was sent, `answer` the one that a batch brought. Raises an Interrupt
        or StoreError.
        """
        state, task, parts = self._state, self._state.task, self._state.parts
        row, observer = state.row(index), parts.observer
        number = state.attempt_before(index, attempt) + 1
        attempt_calls = parts.calls.calls(task, number, index, again=state.is_again(index))
        calls = BatchCalls(attempt_calls, observer, answer)
        frame = Frame(task, 1, row.item, index)
        correlation.place.set(frame.log_fields)
        usage = UsageSum()
        observer.on_row_start(task, index, 1)
        try:
            run = partial(
                run_stages,
                seconds=task.timeout,
                boundary=parts.boundary.checkpoint,
                hold=parts.boundary.hold,
            )
            output, scores = await run(state.code.stages(calls, row), frame), None
            if state.code.scoring is not None:
                scores = await state.code.scoring.scores(calls, frame, run, row.item, output)
            await parts.files.keep(task.name, index)
        except NeedsAnswer as question:
            observer.on_row_end(task, index, 1, calls.usage, question)
            calls.drop()
            await parts.files.take_back(task.name, index)  # it is gone through again from the start
            return question, calls
        except BaseException as raised:
            if not isinstance(raised, Exception) or isinstance(raised, StoreError):
                observer.on_row_end(task, index, 1, calls.usage, raised)
                raise
            calls.drop()
            await parts.files.take_back(task.name, index)
            error = as_po_error(raised)
            observer.on_row_end(task, index, 1, calls.usage, error)
            usage.add(calls.usage)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                state.stop(error)
                state.report_usage(index, frame.stage, usage.to_json())
            else:
                parts.snapshots.write(frame, error)
                state.fail(index, state.code.key(row), usage, error)
        else:
            calls.keep()
            usage.add(calls.usage)
            observer.on_row_end(task, index, 1, calls.usage, None)
            state.succeed(
                index, state.code.key(row), usage, output, calls.addresses, AnswerNotes(scores=scores)
            )
        return None, calls
