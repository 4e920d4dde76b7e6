"""The open batches of a map: those at its provider. Each change of one is an event of the log first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from po_jupyter.engine.budgets.batch_hold import BatchHold
from po_jupyter.engine.maps.batches.api_client import BatchApi
from po_jupyter.engine.maps.batches.open_batch import OpenBatch, open_batch_from_log
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.errors import ModelError
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint


class OpenBatches:
    """The batches of one map that are at the provider, or may be.

    `crowded`: the provider takes no more before one of them has ended.
    """

    def __init__(self, state: MapState, api: BatchApi) -> None:
        """No batch yet; `recover` reads those of an earlier worker from the log."""
        self.crowded = False
        self._state = state
        self._api = api
        self._log, self._task = state.parts.log, state.task.name
        self._by_token: dict[str, OpenBatch] = {}

    def __iter__(self) -> Iterator[OpenBatch]:
        """The batches as they are now; they may be closed meanwhile."""
        return iter(list(self._by_token.values()))

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._by_token)

    def __contains__(self, token: object) -> bool:
        """Whether the batch with that token is open."""
        return token in self._by_token

    @property
    def accept_more(self) -> bool:
        """Whether another batch may be sent now."""
        return not (self.crowded and self._by_token)

    def ids(self) -> frozenset[str]:
        """The provider's ids, as far as they are known."""
        return frozenset(batch.id for batch in self if batch.id is not None)

    def rows(self) -> set[int]:
        """Rows that a batch answers."""
        return {index for batch in self for index in batch.members}

    def add(self, batch: OpenBatch) -> None:
        """Add a batch whose `batch.prepared` is in the log."""
        self._by_token[batch.token] = batch
        self._state.in_flight += len(batch.members)

    def _remove(self, batch: OpenBatch) -> None:
        del self._by_token[batch.token]
        self._state.in_flight -= len(batch.members) - batch.collected
        if batch.hold is not None:
            batch.hold.release()

    async def submitted(self, batch: OpenBatch, id: str, *, adopted: bool = False) -> None:
        """Record the provider's id of a batch; `adopted`: it was found after a crash."""
        batch.id = id
        await self._log.commit(draft("batch.submitted", self._task, token=batch.token, id=id, adopted=adopted))
        crashpoint("batch.submitted.after")

    async def drop(self, batch: OpenBatch, error: ModelError | None) -> None:
        """Record that the provider does not have a batch, and remove it."""
        error_json = error.to_json() if error is not None else None
        await self._log.commit(draft("batch.dropped", self._task, token=batch.token, error=error_json))
        self._remove(batch)

    async def close(
        self, batch: OpenBatch, state: Literal["ended", "expired", "refused", "void"], answered: int
    ) -> None:
        """Record that every answer of a batch is in the log, and remove it."""
        crashpoint("batch.close.before")
        await self._log.commit(
            draft("batch.closed", self._task, token=batch.token, id=batch.id, answered=answered, state=state)
        )
        crashpoint("batch.close.after")
        self._remove(batch)

    async def cancel(self, batch: OpenBatch) -> None:
        """Cancel a batch at the provider. The log has that first: rows that come back cancelled are no failures."""
        if batch.id is not None and not batch.cancelling:
            await self._log.commit(draft("batch.cancelling", self._task, token=batch.token, id=batch.id))
            batch.cancelling = True
            batch.cancel_sent = await self._api.cancel(batch)

    async def cancel_all(self) -> None:
        """Cancel every batch."""
        for batch in self:
            await self.cancel(batch)

    async def recover(self, *, adopt_holds: bool) -> None:
        """Take up the batches that an earlier worker left at the provider, or may have left there.

        `adopt_holds`: set aside again what is reserved for them, because more calls follow.
        """
        parts = self._state.parts
        task = parts.log.state.tasks[self._task]
        budget = parts.calls.budget if adopt_holds else None
        void = parts.history.void.get(self._task, {})
        batches = [
            (open_batch_from_log(record, frozenset(void.get(token, ()))), record["offset"])
            for token, record in task.batches.items()
        ]
        for batch, _ in batches:  # all of them first: while one is searched for, no row of another is free
            if budget is not None:
                batch.hold = BatchHold.adopt(budget, self._task, parts.history.spent.of_batch(batch.token))
            self.add(batch)
        for batch, offset in batches:
            if batch.id is None:
                id = await self._api.search(batch, self.ids())
                if id is None:
                    await self.drop(batch, None)
                    continue
                await self.submitted(batch, id, adopted=True)
            if offset < task.cleared_at:  # the task was restarted since: its rows are asked anew
                await self.cancel(batch)
                await self.close(batch, "void", 0)
