"""Asking a provider for batches, so that none is made twice: what is unclear is looked up before it is done again."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

from po_jupyter.engine.maps.batches.custom_ids import Open
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.errors import ModelError, ModelRateLimited, ModelRefused
from po_jupyter.llm.batches.protocol import Batches, BatchStatus
from po_jupyter.llm.calls.retry import retry_delay, with_retry
from po_jupyter.model.pipeline.pipeline import CallRetry, Task
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint

T = TypeVar("T")
_GROWTH = 1.5  # of the wait between two looks


def pauses(first: float, longest: float) -> Callable[[], float]:
    """Waits between looks, in seconds: growing, a fifth up or down, so that many runs do not look at once."""
    now = first

    def following() -> float:
        nonlocal now
        said, now = now, min(longest, now * _GROWTH)
        return said * random.uniform(0.8, 1.2)

    return following


class Asking:
    """One task's way to the batch API. Waits end with Drained when the worker drains."""

    def __init__(self, parts: MapParts, task: Task, api: Batches) -> None:
        """The way of `task` to `api`."""
        self.api = api
        self._task = task
        self._log, self._boundary, self._settings = parts.log, parts.boundary, parts.inputs.settings
        self._retry = parts.inputs.llm_of(task).retry or CallRetry()

    async def sure(self, ask: Callable[[], Awaitable[T]]) -> T:
        """`await ask()` as often as `llm.retry` says: for what may be done twice. Raises a ModelError."""
        cap = self._settings.retry_after_cap
        return await with_retry(ask, self._retry, on_wait=self._told, cap=cap, sleep=self._boundary.sleep)

    def _told(self, attempt: int, delay: float, error: ModelError) -> None:
        self._log.emit(
            draft(
                "call.retry",
                self._task.name,
                attempt=attempt,
                delay=round(delay, 2),
                seconds=round(delay, 2),
                reason=f"{self.api.name} ({error.code.removeprefix('model_').replace('_', ' ')})",
                error={"code": error.code, "message": error.message},
                stage="inference",
            )
        )

    async def submit(self, batch: Open, group: str, path: Path, others: Collection[str]) -> str:
        """Hand a file over; the batch's id. Raises a ModelError when it is certain that there is no batch."""
        uploaded = await self.sure(lambda: self.api.upload(path, batch.token))
        crashpoint("batch.upload.after")
        for attempt in range(1, self._retry.max_attempts + 1):
            try:
                found: str | None = await self.api.create(batch.token, group, uploaded)
                crashpoint("batch.create.after")
            except ModelError as error:
                if not error.transient:
                    raise
                # Only a 429 says for sure that nothing was made.
                found = None if isinstance(error, ModelRateLimited) else await self.search(batch, others)
                if found is None and attempt == self._retry.max_attempts:
                    raise
                delay = retry_delay(attempt, self._retry, error.retry_after, cap=self._settings.retry_after_cap)
                if found is None:
                    self._told(attempt, delay, error)
                    await self._boundary.sleep(delay)
            if found is not None:
                return found
        raise AssertionError("the last attempt returns or raises")

    async def search(self, batch: Open, others: Collection[str]) -> str | None:
        """The id of a batch that the provider may have; None once it is certain that it has not.

        Certain is: looked for, `batch_grace` waited, and looked for again. Raises a ModelError.
        """
        settings = self._settings
        began = time.monotonic()
        pause = pauses(settings.batch_poll_min, settings.batch_poll_max)
        while True:
            found = await self.sure(
                lambda: self.api.find(batch.token, since=batch.prepared, count=len(batch.rows), others=others)
            )
            if found.id is not None:
                return found.id
            left = settings.batch_grace - (time.monotonic() - began)
            if left <= 0 and not found.undecided:
                return None
            what = f"{self.api.name} to show whether it has a batch of {len(batch.rows):,} rows"
            self._log.emit(draft("task.waiting", self._task.name, reason=what))
            self._boundary.rest(self._task.name, True)
            await self._boundary.sleep(pause() if found.undecided else max(0.01, left))
            self._boundary.rest(self._task.name, False)

    async def look(self, batch: Open) -> BatchStatus | None:
        """Where it stands; None when that cannot be known now. Raises ModelKeyError.

        A batch that the provider does not know any more has ended, without results.
        """
        assert batch.id is not None
        try:
            return await self.api.status(batch.id)
        except ModelRefused as error:
            if error.http_status != 404:
                raise
            why = f"{self.api.name} has no batch {batch.id}: it was deleted, or made with the key of another account"
            return BatchStatus(batch.id, "ended", error=why, code="gone")
        except ModelError as error:
            if not error.transient:
                raise
            return None

    async def cancel(self, batch: Open) -> bool:
        """Ask for its end; False when that has to be asked again."""
        assert batch.id is not None
        try:
            await self.api.cancel(batch.id)
        except ModelError as error:
            if not error.transient:
                raise
            return False
        return True
