"""Rows of a map on their way into batches: which are sent, and as many as can be afforded."""

from __future__ import annotations

import asyncio
import time

from po_jupyter.engine.maps.batches.batch_file import Wave
from po_jupyter.engine.maps.batches.custom_ids import Open, Place, custom_id, spans
from po_jupyter.engine.maps.batches.open_batches import BREATH, AtProvider
from po_jupyter.engine.maps.batches.row_calls import Came, raising
from po_jupyter.engine.replay.spent_from_log import NOTHING
from po_jupyter.errors import BudgetExceeded, ModelError, ModelRefused
from po_jupyter.llm.batches.protocol import BATCH_PRICE
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint


class Sending(AtProvider):
    """Every row that nobody has answered goes into a batch."""

    async def _fill(self) -> None:
        """Send every row that has no outcome and is in no batch, as far as budgets allow."""
        budget = self.parts.calls.budget
        while self.over is None and not (self.crowded and self.open):
            wave = Wave(self._folder, budget.hold_for(self.task.name) if budget is not None else None)
            try:
                await self._gather(wave)
                if not wave.rows or self.over is not None:
                    self._let_go(wave)
                    return
                await wave.write()
                await self._send(wave)
            except BaseException:
                self._let_go(wave)
                raise
            finally:
                await asyncio.to_thread(wave.path.unlink, missing_ok=True)

    def _let_go(self, wave: Wave) -> None:
        budget = self.parts.calls.budget
        if wave.token not in self.open and wave.hold is not None and budget is not None:
            budget.release(wave.hold)

    async def _gather(self, wave: Wave) -> None:
        """Take rows into the wave until it is full, or no more can be afforded now."""
        boundary, api = self.parts.boundary, self.asking.api
        away = {index for batch in self.open.values() for index in batch.rows}
        done = 0
        for index in range(self.total):
            if index in self.known or index in away:
                continue
            done += 1
            if done % BREATH == 0:
                boundary.checkpoint()
                await asyncio.sleep(0)
            wanted, _ = await self._through(index, self.attempt)
            if self.over is not None:
                return
            if wanted is None:
                continue
            try:
                group = api.group(wanted.request)
                if wave.group not in (None, group):
                    continue
                place = Place(index, self.attempt, wanted.stage, wanted.round)
                line = api.line(custom_id(wave.token, place), wanted.request)
                if len(line) > api.max_bytes:
                    raise ModelRefused(f"the row takes {len(line):,} bytes; a batch may have {api.max_bytes:,}")
            except ModelError as error:
                await self._through(index, self.attempt, Came(wave.token, None, 0, raising(error)))
                continue
            if len(wave.rows) >= api.max_requests or wave.bytes + len(line) + 1 > api.max_bytes:
                return
            if not await self._afford(wave, wanted.request):
                return
            wave.group = group
            await wave.add(index, line)

    async def _afford(self, wave: Wave, request: ChatRequest) -> bool:
        """Set the worst case of one more row aside. When not even one can be sent, it is the end."""
        budget = self.parts.calls.budget
        if budget is None or wave.hold is None:
            return True
        try:
            worst = await budget.worst_case(request)
            worst = worst._replace(usd=worst.usd * BATCH_PRICE)
            if await budget.widen(wave.hold, worst):
                return True
            if wave.rows or self.open:
                return False  # later: what is on its way frees what it does not use
            wave.hold = await budget.begin(worst, self.task.name)
        except BudgetExceeded as error:
            self.over = error
            return False
        return True

    async def _send(self, wave: Wave) -> None:
        parts, task, api = self.parts, self.task, self.asking.api
        reserved = wave.hold.left if wave.hold is not None else NOTHING
        rows = tuple(wave.rows)
        batch = Open(wave.token, self.attempt, rows, time.time(), reserved, hold=wave.hold)
        group = wave.group or ""
        parts.boundary.rest(task.name, False)
        crashpoint("batch.prepare.before")
        await parts.log.commit(
            draft(
                "batch.prepared",
                task.name,
                token=batch.token,
                attempt=batch.attempt,
                provider=api.name,
                model=parts.calls.calls(task, 0).model,
                group=group,
                count=len(rows),
                rows=spans(rows),
                bytes=wave.bytes,
                digest=wave.digest,
                reserved=list(reserved),
            )
        )
        crashpoint("batch.prepare.after")
        self._add(batch)
        try:
            id = await self.asking.submit(batch, group, wave.path, self._ids())
        except ModelError as error:
            await self._drop(batch, error)
            self.over = self.over or error
            return
        await self._submitted(batch, id)
