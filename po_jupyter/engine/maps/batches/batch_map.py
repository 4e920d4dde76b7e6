"""A map that goes through batches, from the first row to the last outcome (see the package)."""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime

from po_jupyter.engine.maps.batches.api_client import Asking, pauses
from po_jupyter.engine.maps.batches.collector import Collecting
from po_jupyter.engine.maps.batches.custom_ids import Open, opened
from po_jupyter.engine.maps.batches.sender import Sending
from po_jupyter.errors import ModelRefused
from po_jupyter.llm.batches.protocol import batch_api_of
from po_jupyter.llm.providers.refs import batch_problem
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint


class BatchMap(Sending, Collecting):
    """A map with `mode: batch`."""

    async def rows_done(self) -> None:
        """Every row to its outcome, or until `over` is set."""
        boundary, name = self.parts.boundary, self.task.name
        self._begin()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._recover()
        try:
            while True:
                if self.over is None and not (self.crowded and self.open):
                    await self._fill()
                if not self.open:
                    return
                if self.over is not None:
                    await self._cancel_all()
                await self._until_one_ends()
        finally:
            boundary.rest(name, False)

    def _begin(self) -> None:
        parts, task = self.parts, self.task
        model = parts.calls.calls(task, 0).model
        why = batch_problem(model)
        api = batch_api_of(parts.calls.provider_of(model)) if why is None else None
        if api is None:
            raise ModelRefused(
                why or f"`mode: batch` needs a provider with a batch API, and that of {model} has none",
                hint="Choose another model, or leave `mode` out: rows are then asked one by one.",
            )
        self.asking = Asking(parts, task, api)
        self.open: dict[str, Open] = {}
        self.told = ""

    # -- what the log knows of batches ----------------------------------------------------------------
    async def _recover(self) -> None:
        """Take up the batches that an earlier worker left at the provider, or may have left there."""
        parts, name = self.parts, self.task.name
        state = parts.log.state.tasks[name]
        budget = parts.calls.budget
        batches = [(opened(said, _seconds(said["at"])), said["offset"]) for said in state.batches.values()]
        for batch, _ in batches:  # all of them first: while one is looked for, no row of another is free
            if budget is not None and not self.stopping:
                batch.hold = budget.adopt(name, parts.history.spent.left_of(batch.token))
            self._add(batch)
        for batch, offset in batches:
            if batch.id is None:
                found = await self.asking.search(batch, self._ids())
                if found is None:
                    await self._drop(batch, None)
                    continue
                await self._submitted(batch, found, adopted=True)
            if offset < state.cleared_at:  # the task was restarted since: its rows are asked anew
                await self._cancel(batch)
                await self._close(batch, "void", 0)

    # -- waiting --------------------------------------------------------------------------------------
    async def _until_one_ends(self) -> None:
        """Look at the batches now and then, until one has ended and was collected."""
        boundary, settings = self.parts.boundary, self.parts.inputs.settings
        pause = pauses(settings.batch_poll_min, settings.batch_poll_max)
        while True:
            self._say_waiting()
            boundary.rest(self.task.name, True)
            await boundary.sleep(pause())
            ended = False
            for batch in list(self.open.values()):
                if batch.cancelling and not batch.asked:
                    batch.asked = await self.asking.cancel(batch)
                status = await self.asking.look(batch)
                crashpoint("batch.look.after")
                batch.silent = status is None
                if status is None:
                    continue
                batch.seen = (status.done, status.total)
                if status.state == "ended":
                    boundary.rest(self.task.name, False)
                    await self._collect(batch, status)
                    ended = True
            if ended:
                return

    def _say_waiting(self) -> None:
        count = len(self.open)
        rows = sum(len(batch.rows) for batch in self.open.values())
        done = sum(batch.seen[0] for batch in self.open.values())
        what = f"batch of {rows:,}" if count == 1 else f"{count} batches of {rows:,}"
        reason = f"{what} {'row' if rows == 1 else 'rows'} at {self.asking.api.name}: {done:,} done"
        if all(batch.cancelling for batch in self.open.values()):
            reason += ", being cancelled"
        if any(batch.silent for batch in self.open.values()):
            reason += " (it does not answer now)"
        if reason != self.told:
            self.told = reason
            self._progress_now()
            self.parts.log.emit(draft("task.waiting", self.task.name, reason=reason))

    # -- the end of a run -------------------------------------------------------------------------------
    async def wind_up(self) -> None:
        """Cancel at the provider, wait for that, and keep what was finished: it is paid for (P12)."""
        self.stopping = True
        await self._prepare()
        self._begin()
        try:
            await self._recover()
            await self._cancel_all()
            while self.open:
                await self._until_one_ends()
        finally:
            self._progress_now()
            self.parts.boundary.rest(self.task.name, False)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
