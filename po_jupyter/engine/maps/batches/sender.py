"""The sender of a batch map: gathers rows into batches, as many as budgets allow, and hands them to the provider."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from po_jupyter.engine.budgets.batch_hold import BatchHold
from po_jupyter.engine.maps.batches.api_client import BatchApi
from po_jupyter.engine.maps.batches.batch_file import BatchFile
from po_jupyter.engine.maps.batches.custom_ids import RequestId, custom_id
from po_jupyter.engine.maps.batches.open_batch import OpenBatch
from po_jupyter.engine.maps.batches.open_batches import OpenBatches
from po_jupyter.engine.maps.batches.row_calls import NeedsAnswer, failed_answer
from po_jupyter.engine.maps.batches.row_runner import RowRunner
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.replay.spent_from_log import ZERO
from po_jupyter.errors import BudgetExceeded, ModelError, ModelRefused
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.llm.money.service_tiers import BATCH_PRICE
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.row_spans import format_spans
from po_jupyter.platform.crashpoints import crashpoint

ROWS_A_TURN = 50  # rows after which others on the loop get their turn


class Sender:
    """Sends every row of a map that has no outcome and is in no batch."""

    def __init__(
        self, state: MapState, api: BatchApi, batches: OpenBatches, runner: RowRunner, folder: Path
    ) -> None:
        """`folder` is where files of batches are written; it is made when there is one."""
        self._state, self._api, self._batches, self._runner = state, api, batches, runner
        self._folder = folder

    async def fill(self) -> None:
        """Send batches until no row is left, budgets allow no more, or the provider takes no more."""
        state, budget = self._state, self._state.parts.calls.budget
        while state.error is None and self._batches.accept_more:
            file = BatchFile(self._folder)
            hold = BatchHold(budget, state.task.name) if budget is not None else None
            try:
                await self._gather(file, hold)
                if not file.rows or state.error is not None:
                    return
                await file.write()
                await self._send(file, hold)
            finally:
                if file.token not in self._batches and hold is not None:
                    hold.release()
                await asyncio.to_thread(file.path.unlink, missing_ok=True)

    async def _gather(self, file: BatchFile, hold: BatchHold | None) -> None:
        """Take rows into the file until it is full, or no more can be afforded now."""
        state = self._state
        open_rows = self._batches.rows()
        count = 0
        for index in state.open_indexes():
            if index in open_rows:
                continue
            count += 1
            if count % ROWS_A_TURN == 0:
                state.parts.boundary.checkpoint()
                await asyncio.sleep(0)
            question, _ = await self._runner.run(index, state.attempt)
            if state.error is not None:
                return
            if question is not None and not await self._add(file, hold, index, question):
                return

    async def _add(self, file: BatchFile, hold: BatchHold | None, index: int, question: NeedsAnswer) -> bool:
        """Add the request of a row, unless it is of another group or cannot be sent; False when the file is full."""
        state, api = self._state, self._api.api
        try:
            group = api.group(question.request)
            if file.group not in (None, group):
                return True
            request = RequestId(index, state.attempt, question.stage, question.round)
            line = api.line(custom_id(file.token, request), question.request)
            if len(line) > api.max_bytes:
                raise ModelRefused(f"the row takes {len(line):,} bytes; a batch may have {api.max_bytes:,}")
        except ModelError as error:
            await self._runner.run(index, state.attempt, failed_answer(file.token, error))
            return True
        if len(file.rows) >= api.max_requests or file.bytes + len(line) + 1 > api.max_bytes:
            return False
        if hold is not None and not await self._afford(file, hold, question.request):
            return False
        file.group = group
        await file.add(index, line)
        return True

    async def _afford(self, file: BatchFile, hold: BatchHold, request: ChatRequest) -> bool:
        """Set the worst case of one more row aside. When not even one row can be sent, the map stops."""
        budget = self._state.parts.calls.budget
        assert budget is not None
        try:
            worst = await budget.worst_case(request)
            worst = worst._replace(usd=worst.usd * BATCH_PRICE)
            if await hold.widen(worst):
                return True
            if file.rows or self._batches:
                return False  # later: batches on their way free what they do not use
            await hold.begin(worst)
        except BudgetExceeded as error:
            self._state.stop(error)
            return False
        return True

    async def _send(self, file: BatchFile, hold: BatchHold | None) -> None:
        parts, task = self._state.parts, self._state.task
        reserved = hold.remaining if hold is not None else ZERO
        rows = tuple(file.rows)
        batch = OpenBatch(file.token, self._state.attempt, rows, time.time(), reserved, hold=hold)
        group = file.group or ""
        parts.boundary.rest(task.name, False)
        crashpoint("batch.prepare.before")
        await parts.log.commit(
            draft(
                "batch.prepared",
                task.name,
                token=batch.token,
                attempt=batch.attempt,
                provider=self._api.name,
                model=parts.calls.model_of(task),
                group=group,
                count=len(rows),
                rows=format_spans(rows),
                bytes=file.bytes,
                digest=file.digest,
                reserved=list(reserved),
            )
        )
        crashpoint("batch.prepare.after")
        self._batches.add(batch)
        try:
            id = await self._api.submit(batch, group, file.path, self._batches.ids())
        except ModelError as error:
            await self._batches.drop(batch, error)
            self._state.stop(error)
            return
        await self._batches.submitted(batch, id)
