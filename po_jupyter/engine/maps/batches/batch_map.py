"""Maps whose rows go to the provider's batch API, from the first row to the last outcome (see the package)."""

from __future__ import annotations

import asyncio
import shutil
from typing import Self

from po_jupyter.engine.maps.batches.api_client import BatchApi, batch_api_for, poll_delays
from po_jupyter.engine.maps.batches.collector import Collector
from po_jupyter.engine.maps.batches.open_batches import OpenBatches
from po_jupyter.engine.maps.batches.row_runner import RowRunner
from po_jupyter.engine.maps.batches.sender import Sender
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint


class BatchMap:
    """A map with `mode: batch`. `stopping`: its run ends, so nothing is sent and only `wind_up` is called."""

    def __init__(self, state: MapState, api: BatchApi, *, stopping: bool = False) -> None:
        """Over the rows of `state`, whose provider has `api`."""
        self._state = state
        self._stopping = stopping
        self._folder = state.parts.inputs.run_dir / "batches" / state.task.name
        self._api = api
        self._batches = batches = OpenBatches(state, api)
        runner = RowRunner(state)
        self._sender = Sender(state, api, batches, runner, self._folder)
        self._collector = Collector(state, api, batches, runner, self._folder, stopping=stopping)
        self._reason = ""  # of the wait, as it was emitted last

    @classmethod
    async def open(cls, state: MapState, *, stopping: bool = False) -> Self:
        """The batches of a map. Raises ModelRefused when its provider has no batch API, ModelKeyError."""
        return cls(state, await batch_api_for(state.parts, state.task), stopping=stopping)

    async def run(self) -> None:
        """Send and collect batches until every row has an outcome, or the map stops and its batches have ended."""
        state, batches = self._state, self._batches
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await batches.recover(adopt_holds=True)
        try:
            while True:
                if state.error is None and batches.accept_more:
                    await self._sender.fill()
                if not batches:
                    return
                if state.error is not None:
                    await batches.cancel_all()
                await self._collect_next()
        finally:
            state.parts.boundary.rest(state.task.name, False)

    async def wind_up(self) -> None:
        """Cancel at the provider, wait for that, and keep what was finished: it is paid for (P12)."""
        state, batches = self._state, self._batches
        try:
            await batches.recover(adopt_holds=False)
            await batches.cancel_all()
            while batches:
                await self._collect_next()
        finally:
            state.report_progress()
            state.parts.boundary.rest(state.task.name, False)

    async def _collect_next(self) -> None:
        """Poll the batches now and then, until one has ended and was collected."""
        boundary, settings = self._state.parts.boundary, self._state.parts.inputs.settings
        name = self._state.task.name
        next_delay = poll_delays(settings.batch_poll_min, settings.batch_poll_max)
        any_ended = False
        while not any_ended:
            self._emit_waiting()
            boundary.rest(name, True)
            await boundary.sleep(next_delay())
            for batch in self._batches:
                if batch.cancelling and not batch.cancel_sent:
                    batch.cancel_sent = await self._api.cancel(batch)
                status = await self._api.status(batch)
                crashpoint("batch.look.after")
                batch.silent = status is None
                if status is None:
                    continue
                batch.progress = (status.done, status.total)
                if status.state == "ended":
                    boundary.rest(name, False)
                    await self._collector.collect(batch, status)
                    await self._api.discard(status.uploads)  # all that it brought is in the log
                    any_ended = True

    def _emit_waiting(self) -> None:
        batches = list(self._batches)
        rows = sum(len(batch.rows) for batch in batches)
        done_rows = sum(batch.progress[0] for batch in batches)
        subject = f"batch of {rows:,}" if len(batches) == 1 else f"{len(batches)} batches of {rows:,}"
        reason = f"{subject} {'row' if rows == 1 else 'rows'} at {self._api.name}: {done_rows:,} done"
        if all(batch.cancelling for batch in batches):
            reason += ", being cancelled"
        if any(batch.silent for batch in batches):
            reason += " (it does not answer now)"
        if reason != self._reason:
            self._reason = reason
            self._state.report_progress()
            self._state.parts.log.emit(draft("task.waiting", self._state.task.name, reason=reason))
