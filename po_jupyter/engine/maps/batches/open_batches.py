"""The batches of a map that are at a provider: what the log is told of them, and a row on its way through one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.engine.base.tracebacks import internal
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.engine.maps.batches.api_client import Asking
from po_jupyter.engine.maps.batches.custom_ids import Open
from po_jupyter.engine.maps.batches.row_calls import BatchCalls, Came, Deferred
from po_jupyter.engine.maps.map import ROW_ATTEMPTS, Map
from po_jupyter.errors import BudgetExceeded, ModelError, ModelKeyError, StoreError
from po_jupyter.model.run.events import event_draft
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.telemetry import correlation

BREATH = 50  # rows after which others on the loop get their turn


class AtProvider(Map):
    """What sending and collecting share."""

    asking: Asking
    open: dict[str, Open]
    stopping = False  # the run ends: nothing more is sent, and what is not answered stays open
    crowded = False  # the provider takes no more before one of ours has ended

    @property
    def _folder(self) -> Path:
        return self.parts.inputs.run_dir / "batches" / self.task.name

    # -- what the log is told -------------------------------------------------------------------------
    def _add(self, batch: Open) -> None:
        self.open[batch.token] = batch
        self.in_flight += len(batch.rows)

    def _gone(self, batch: Open) -> None:
        del self.open[batch.token]
        self.in_flight -= len(batch.rows) - batch.landed
        budget = self.parts.calls.budget
        if batch.hold is not None and budget is not None:
            budget.release(batch.hold)

    def _ids(self) -> frozenset[str]:
        return frozenset(batch.id for batch in self.open.values() if batch.id is not None)

    async def _say_batch(self, what: str, batch: Open, **data: Any) -> None:
        await self.parts.log.commit(
            event_draft(f"batch.{what}", self.task.name, None, {"token": batch.token, **data})
        )

    async def _submitted(self, batch: Open, id: str, *, adopted: bool = False) -> None:
        batch.id = id
        await self._say_batch("submitted", batch, id=id, adopted=adopted)
        crashpoint("batch.submitted.after")

    async def _drop(self, batch: Open, error: ModelError | None) -> None:
        await self._say_batch("dropped", batch, error=error.to_json() if error is not None else None)
        self._gone(batch)

    async def _close(self, batch: Open, state: str, answered: int) -> None:
        crashpoint("batch.close.before")
        await self._say_batch("closed", batch, id=batch.id, answered=answered, state=state)
        crashpoint("batch.close.after")
        self._gone(batch)

    async def _cancel(self, batch: Open) -> None:
        """Ask the provider to end it. That it was asked is durable first: rows that come back cancelled are no
        failures then."""
        if batch.id is not None and not batch.cancelling:
            await self._say_batch("cancelling", batch, id=batch.id)
            batch.cancelling = True
            batch.asked = await self.asking.cancel(batch)

    async def _cancel_all(self) -> None:
        for batch in list(self.open.values()):
            await self._cancel(batch)

    # -- one row --------------------------------------------------------------------------------------
    async def _through(
        self, index: int, attempt: int, came: Came | None = None
    ) -> tuple[Deferred | None, BatchCalls]:
        """Take a row through its stages as far as known answers carry it: to its outcome (None), or to the question
        that nothing answers."""
        parts, task = self.parts, self.task
        item = self.rows[index]
        names = {**self.names, "item": item, "index": index}
        first = self._first(names)
        calls = BatchCalls(
            parts.calls.calls(task, attempt * ROW_ATTEMPTS + 1, index, again=attempt > 1), parts.observer, came
        )
        frame = Frame(task, 1, item, index)
        correlation.place.set(frame.where)
        assert self.prompt is not None
        usage = UsageSum()
        observer = parts.observer
        observer.on_row_start(task, index, 1)
        try:
            output = await run_stages(
                self.prompt.stages(calls, names, first=first),
                frame,
                max_refinements=task.refine.max_attempts,
                seconds=task.timeout,
                boundary=parts.boundary.checkpoint,
            )
        except Deferred as wanted:
            observer.on_row_end(task, index, 1, calls.usage, wanted)
            calls.drop()
            return wanted, calls
        except BaseException as raised:
            if not isinstance(raised, Exception) or isinstance(raised, StoreError):
                observer.on_row_end(task, index, 1, calls.usage, raised)
                raise
            calls.drop()
            error = internal(raised)
            observer.on_row_end(task, index, 1, calls.usage, error)
            usage.add(calls.usage)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                self.over = self.over or error
                self.used.add_json(usage.to_json())
                return None, calls
            parts.snapshots.write(frame, error)
            self._outcome(index, self._key(item, first, names), usage, None, error)
        else:
            calls.keep()
            usage.add(calls.usage)
            observer.on_row_end(task, index, 1, calls.usage, None)
            self._outcome(index, self._key(item, first, names), usage, output, None)
        return None, calls
