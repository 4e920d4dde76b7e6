"""The collector of a batch map: records the results of batches that ended, and what came of each row."""

from __future__ import annotations

import asyncio
from pathlib import Path

from po_jupyter.engine.maps.batches.api_client import BatchApi
from po_jupyter.engine.maps.batches.batch_file import unusable_file
from po_jupyter.engine.maps.batches.custom_ids import parse_custom_id
from po_jupyter.engine.maps.batches.open_batch import OpenBatch
from po_jupyter.engine.maps.batches.open_batches import OpenBatches
from po_jupyter.engine.maps.batches.row_calls import BatchAnswer, failed_answer
from po_jupyter.engine.maps.batches.row_runner import RowRunner
from po_jupyter.engine.maps.batches.sender import ROWS_A_TURN
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.batches.protocol import BatchStatus
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY

_READ = 500_000  # bytes of results read at once
_CROWDED = frozenset({"token_limit_exceeded"})  # the account has too much in batches already


class Collector:
    """Hands every answer to its row, once. `stopping`: the run ends, so rows that need another answer stay open."""

    def __init__(
        self,
        state: MapState,
        api: BatchApi,
        batches: OpenBatches,
        runner: RowRunner,
        folder: Path,
        *,
        stopping: bool = False,
    ) -> None:
        """`folder` is where results are downloaded to."""
        self._state, self._api, self._batches, self._runner = state, api, batches, runner
        self._folder = folder
        self._stopping = stopping

    async def collect(self, batch: OpenBatch, status: BatchStatus) -> None:
        """Record every answer of an ended batch and the outcomes of its rows, then close it."""
        if status.error and not status.results:
            await self._collect_refusal(batch, status)
            return
        seen_rows: set[int] = set()
        answered, gone = await self._read_results(batch, status, seen_rows)
        if not batch.cancelling:
            reason = gone or status.missing
            for index in batch.rows:
                if index not in seen_rows:
                    missing = f"{self._api.name} returned no result for row {index} in batch {batch.id}"
                    if reason:
                        missing = f"{self._api.name}: {reason}"
                    await self._answer(batch, index, failed_answer(batch.token, ModelUnavailable(missing)))
        await self._state.parts.log.flush()
        crashpoint("batch.collect.after")
        self._batches.crowded = False
        await self._batches.close(batch, "expired" if status.expired else "ended", answered)
        self._state.report_progress()

    async def _read_results(
        self, batch: OpenBatch, status: BatchStatus, seen_rows: set[int]
    ) -> tuple[int, str]:
        """Download the results and hand them to their rows; the number of answers, and why others are gone. Adds the
        rows to `seen_rows`."""
        path = self._folder / f"{batch.token}.results"
        answered, gone = 0, ""
        try:
            await asyncio.to_thread(path.parent.mkdir, mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            await asyncio.to_thread(path.touch)
            if not await self._api.download(status, path):  # what came of several files is read
                gone = f"the results of batch {batch.id} are not there any more, or not all of them"
            crashpoint("batch.collect.before")
            with path.open("rb") as file:
                while lines := await asyncio.to_thread(file.readlines, _READ):
                    for line in lines:
                        answered += await self._collect_line(batch, line, seen_rows)
        except OSError as error:
            raise unusable_file(path, error) from None
        finally:
            path.unlink(missing_ok=True)
        return answered, gone

    async def _collect_line(self, batch: OpenBatch, line: bytes, seen_rows: set[int]) -> int:
        """Record one line of the results; 1 when it was an answer to a row that had none."""
        api = self._api.api
        result = api.parse_line(line) if line.strip() else None
        request_id = parse_custom_id(batch.token, result.custom_id) if result is not None else None
        if (
            result is None
            or request_id is None
            or request_id.row in seen_rows
            or request_id.row not in batch.members
        ):
            return 0  # no request of ours, or a second answer: the first one counts
        seen_rows.add(request_id.row)
        batch.collected += 1
        self._state.in_flight -= 1
        if result.cancelled and batch.cancelling:
            return 0

        def read(request: ChatRequest) -> ChatResponse:
            return api.read_response(request, result)

        answer = BatchAnswer(batch.token, request_id.stage, request_id.round, read)
        return await self._answer(batch, request_id.row, answer)

    async def _answer(self, batch: OpenBatch, index: int, answer: BatchAnswer) -> int:
        state = self._state
        if index in state.table or index not in batch.members:
            return 0
        question, calls = await self._runner.run(index, batch.attempt, answer)
        if calls.fresh is not None and batch.hold is not None:
            batch.hold.settle(batch.reserved_for_row, calls.fresh)
        if question is not None and (self._stopping or state.error is not None):
            state.report_usage(index, question.stage, calls.usage.to_json())  # no outcome will have it
        if question is not None:
            state.count_unflushed()
        if state.must_flush:
            await state.flush()
        elif index % ROWS_A_TURN == 0:
            await asyncio.sleep(0)
        return int(calls.fresh is not None)

    async def _collect_refusal(self, batch: OpenBatch, status: BatchStatus) -> None:
        """Close a batch that was refused as a whole: no row was worked on, nothing is to be paid."""
        name, state = self._api.name, self._state
        for number, fault in status.lines.items():
            if 0 < number <= len(batch.rows):
                error = ModelRefused(f"{name}: {fault}", details={"reason": status.code or "invalid_line"})
                await self._answer(batch, batch.rows[number - 1], failed_answer(batch.token, error))
        if status.code == "gone":
            for index in batch.rows:
                refusal = ModelUnavailable(status.error)
                await self._answer(batch, index, failed_answer(batch.token, refusal))
        await state.parts.log.flush()
        await self._batches.close(batch, "refused", 0)
        if status.lines or status.code == "gone":
            return
        if status.code in _CROWDED and self._batches:
            self._batches.crowded = True
            return
        state.stop(
            ModelRefused(
                f"{name} refused the batch: {status.error}",
                hint="No row of it was asked. Mend that, then: po resume RUN",
                details={"provider": name, "reason": status.code, "batch": status.id},
            )
        )
