"""The client of a provider's batch API: makes no batch twice, because an unclear outcome is looked up first."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from po_jupyter.engine.calls.attempt_calls import retry_event
from po_jupyter.engine.maps.batches.open_batch import OpenBatch
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.errors import ModelError, ModelRateLimited, ModelRefused, PoError
from po_jupyter.llm.batches.protocol import Batches, BatchStatus, batch_api_of, discard_upload
from po_jupyter.llm.calls.retry import retry_delay, with_retry
from po_jupyter.llm.providers.refs import batch_problem
from po_jupyter.model.pipeline.pipeline import CallRetry, Task
from po_jupyter.model.run.events import draft
from po_jupyter.platform.crashpoints import crashpoint

T = TypeVar("T")
_GROWTH = 1.5  # of the delay between two polls
_GONE = frozenset({404, 410})
_DISCARD = 10.0  # s that a file has to be deleted
_HUB = (1.0, 30.0)  # s between two tries while a hub is away, at first and at most


def poll_delays(first: float, longest: float) -> Callable[[], float]:
    """Delays between polls, in seconds: growing, a fifth up or down, so that many runs do not poll at once."""
    following = first

    def next_delay() -> float:
        nonlocal following
        delay, following = following, min(longest, following * _GROWTH)
        return delay * random.uniform(0.8, 1.2)

    return next_delay


class BatchApi:
    """The batch API of one task's provider, with retries. Waits end with Drained when the worker drains.

    `api` is the provider's; `name` names the provider in messages.
    """

    def __init__(self, parts: MapParts, task: Task, api: Batches) -> None:
        """The client of `task` to `api`."""
        self.api = api
        self.name = api.name
        self._task = task
        self._log, self._boundary, self._settings = parts.log, parts.boundary, parts.inputs.settings
        self._retry = parts.inputs.llm_of(task).retry or CallRetry()

    async def retried(self, request: Callable[[], Awaitable[T]]) -> T:
        """`await request()` as often as `llm.retry` allows: for what may be done twice. Raises ModelError."""
        cap = self._settings.retry_after_cap
        return await with_retry(
            lambda: self._waited(request),
            self._retry,
            on_wait=self._emit_retry,
            cap=cap,
            sleep=self._boundary.sleep,
        )

    async def _waited(self, request: Callable[[], Awaitable[T]]) -> T:
        """`await request()`, again and again while the hub is away that it goes through, or its limit is reached: what
        never came there is no attempt."""
        next_delay = poll_delays(*_HUB)
        while True:
            try:
                return await request()
            except ModelError as error:
                if error.waits_for is None:
                    raise
                reason = f"{self.name}: {error.message}"
                self._log.emit(draft("task.waiting", self._task.name, reason=reason))
                self._boundary.rest(self._task.name, True)
                await self._boundary.sleep(max(next_delay(), error.retry_after or 0.0))
                self._boundary.rest(self._task.name, False)

    def _emit_retry(self, attempt: int, delay: float, error: ModelError) -> None:
        event = retry_event(self._task.name, None, self.name, attempt, delay, error, stage="inference")
        self._log.emit(event)

    async def submit(self, batch: OpenBatch, group: str, path: Path, others: Collection[str]) -> str:
        """Create a batch from a file; its id. Raises a ModelError when it is certain that there is no batch."""
        uploaded = await self.retried(lambda: self.api.upload(path, batch.token))
        crashpoint("batch.upload.after")
        for attempt in range(1, self._retry.max_attempts + 1):
            try:
                created: str | None = await self._waited(lambda: self.api.create(batch.token, group, uploaded))
                crashpoint("batch.create.after")
            except ModelError as error:
                if not error.transient:
                    await self.discard([uploaded])
                    raise
                # Only a 429 says for sure that nothing was made.
                created = None if isinstance(error, ModelRateLimited) else await self.search(batch, others)
                if created is None and attempt == self._retry.max_attempts:
                    raise
                delay = retry_delay(attempt, self._retry, error.retry_after, cap=self._settings.retry_after_cap)
                if created is None:
                    self._emit_retry(attempt, delay, error)
                    await self._boundary.sleep(delay)
            if created is not None:
                return created
        raise AssertionError("the last attempt returns or raises")

    async def search(self, batch: OpenBatch, others: Collection[str]) -> str | None:
        """The id of a batch that the provider may have; None once it is certain that it has not.

        Certain after two searches with `batch_grace` between them. Raises a ModelError.
        """
        settings = self._settings
        began = time.monotonic()
        next_delay = poll_delays(settings.batch_poll_min, settings.batch_poll_max)
        count = len(batch.rows)
        while True:
            result = await self.retried(
                lambda: self.api.find(batch.token, since=batch.prepared, count=count, others=others)
            )
            if result.id is not None:
                return result.id
            remaining = settings.batch_grace - (time.monotonic() - began)
            if remaining <= 0 and not result.undecided:
                return None
            reason = f"{self.name} to show whether it has a batch of {count:,} rows"
            self._log.emit(draft("task.waiting", self._task.name, reason=reason))
            self._boundary.rest(self._task.name, True)
            await self._boundary.sleep(next_delay() if result.undecided else max(0.01, remaining))
            self._boundary.rest(self._task.name, False)

    async def status(self, batch: OpenBatch) -> BatchStatus | None:
        """The status of a batch; None when the provider does not answer now. Raises ModelKeyError.

        A batch that the provider does not know any more has ended, without results.
        """
        assert batch.id is not None
        try:
            return await self.api.status(batch.id)
        except ModelRefused as error:
            if error.http_status != 404:
                raise
            reason = (
                f"{self.name} has no batch {batch.id}: it was deleted, or made with the key of another account"
            )
            return BatchStatus(batch.id, "ended", error=reason, code="gone")
        except ModelError as error:
            if not error.transient:
                raise
            return None

    async def download(self, status: BatchStatus, path: Path) -> bool:
        """Write the results of an ended batch to a file; False when the provider does not have all of them any more.

        Certain after two requests with `batch_grace` between them. Raises a ModelError.
        """
        for wait in (self._settings.batch_grace, 0.0):
            try:
                await self.retried(lambda: self.api.download(status, path))
            except ModelRefused as error:
                if error.http_status not in _GONE:
                    raise
                await self._boundary.sleep(wait)
            else:
                return True
        return False

    async def discard(self, uploads: Iterable[str]) -> None:
        """Delete files that no batch needs any more, as far as that can be done at once: what stays harms nobody."""
        for uploaded in uploads:
            with suppress(PoError, TimeoutError):
                async with asyncio.timeout(_DISCARD):
                    await discard_upload(self.api, uploaded)

    async def cancel(self, batch: OpenBatch) -> bool:
        """Cancel a batch; False when that has to be tried again."""
        assert batch.id is not None
        try:
            await self.api.cancel(batch.id)
        except ModelError as error:
            if not error.transient:
                raise
            return False
        return True


async def batch_api_for(parts: MapParts, task: Task) -> BatchApi:
    """The batch API for the model of a task. Raises ModelRefused when its provider has none, ModelKeyError."""
    model = parts.calls.model_of(task)
    problem = batch_problem(model)
    api = batch_api_of(await parts.calls.provider_of(model)) if problem is None else None
    if api is None:
        raise ModelRefused(
            problem or f"`mode: batch` needs a provider with a batch API, and that of {model} has none",
            hint="Choose another model, or leave `mode` out: rows are then asked one by one. "
            "The gateway of a hub takes batches of OpenAI, Anthropic, Gemini and Mistral.",
        )
    return BatchApi(parts, task, api)
