"""Leases: documents that one process has at a time, taken by compare-and-swap.

("lease", "orchestrator") is that of a store: who has it does what one alone may do. Where several machines share the
store each node has its own besides, ("node", NAME).

A lease is lost by dying (a process of this host and boot that is gone frees it at once) or by not renewing it for
its `ttl`, in seconds, which the document has. Whether it lapsed is judged by watching its counter on the own monotonic
clock: clocks that are set and laptops that sleep change nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from po_jupyter.errors import StoreError
from po_jupyter.model.run.events import now
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.platform import processes
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.protocol import DocumentStore

log = structlog.get_logger(__name__)

_POLL = 0.5  # s between looks of those who do not hold it


def term_of(document: object) -> float:
    """The seconds within which whoever has the lease of this document renews it; 0.0 where it does not say."""
    ttl = document.get("ttl") if isinstance(document, dict) else None
    return float(ttl) if isinstance(ttl, int | float) else 0.0


class OrchestratorLease:
    """Takes, renews and gives back the lease. `on_taken` and `on_lost` are awaited when it changes hands."""

    def __init__(
        self,
        store: DocumentStore,
        ttl: float,
        *,
        holder: str,
        to_thread: ToThread,
        on_taken: Callable[[], Coroutine[object, object, None]],
        on_lost: Callable[[], Coroutine[object, object, None]],
        document: tuple[str, str] = ORCHESTRATOR_LEASE,
        describe: Callable[[], JsonObject] = dict,
        shared: bool = False,
    ) -> None:
        """`ttl` is in seconds; `holder` names this server in the document, whose kind and name `document` are.

        `describe` is what else is written there at each renewal. `shared`: other machines may have the name of this
        one, so that an earlier boot of it is judged by the counter alone.
        """
        self._kind, self._name = document
        self._describe = describe
        self._shared = shared
        self._store = store
        self._ttl = ttl
        self._me = {"holder": holder, **processes.myself(), "ttl": ttl}
        self._to_thread = to_thread
        self._on_taken = on_taken
        self._on_lost = on_lost
        self._mine: JsonObject | None = None
        self._renewed = 0.0
        self._seen: Any = None
        self._looked = 0.0
        self._unchanged = 0.0  # s
        self._task: asyncio.Task[None] | None = None
        self.document: JsonObject | None = None  # as last seen, whoever holds it

    @property
    def is_held(self) -> bool:
        """True while it is ours, and renewed in time."""
        return self._mine is not None and time.monotonic() - self._renewed < self._ttl

    async def start(self) -> None:
        """Try once now, then keep at it."""
        await self._step()
        self._task = asyncio.create_task(self._renew_or_take(), name="orchestrator lease")

    async def stop(self) -> None:
        """Give it back, so that another server can go on at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._give_back()

    async def _give_back(self) -> None:
        mine, self._mine = self._mine, None
        if mine is not None:
            try:
                await self._to_thread(self._store.swap, self._kind, self._name, mine, None)
            except StoreError as error:  # it lapses by itself, at once when this process ends
                log.error("the lease cannot be given back", error=error.message)

    async def _renew_or_take(self) -> None:
        while True:
            # A holder renews three times a term; the others look for its death twice a second.
            await asyncio.sleep(self._ttl / 3 if self._mine is not None else min(_POLL, self._ttl / 3))
            try:
                await self._step()
            except StoreError as error:
                log.error("the lease cannot be kept", error=error.message)
            except Exception:  # without this task nobody would ever hold the store again
                log.exception("unexpected while keeping the lease")

    async def _step(self) -> None:
        if self._mine is not None:
            if not await self._renew(self._mine):
                await self._on_lost()
        else:
            await self._take_when_free()

    async def _renew(self, mine: JsonObject) -> bool:
        """False when another one has it by now: then it is ours no more."""
        fresh = {**mine, **self._describe(), "renewed": now(), "count": mine["count"] + 1}
        if await self._to_thread(self._store.swap, self._kind, self._name, mine, fresh):
            self._mine = self.document = fresh
            self._renewed = time.monotonic()
            return True
        current = await self._to_thread(self._store.get, self._kind, self._name)
        if current is not None and current.get("holder") == self._me["holder"]:
            # A renewal that was written although it was said to have failed.
            self._mine = self.document = current
            self._renewed = time.monotonic()
            return True
        log.warning("another orchestrator took over", lease=f"{self._kind} {self._name}")
        self._mine = None
        return False

    async def _take_when_free(self) -> None:
        current = await self._to_thread(self._store.get, self._kind, self._name)
        self.document = current
        if current is not None and not self._is_free(current):
            return
        fresh = {**self._me, **self._describe(), "since": now(), "renewed": now(), "count": 1}
        if await self._to_thread(self._store.swap, self._kind, self._name, current, fresh):
            self._mine = self.document = fresh
            self._renewed = time.monotonic()
            log.info(self._name, pid=fresh["pid"], after=(current or {}).get("pid"))
            try:
                if not await self._renew_during(self._on_taken()):
                    await self._on_lost()
            except Exception:
                # Held by somebody who does nothing, it would keep everybody from working: the next step tries
                # again, here or in another server.
                await self._on_lost()
                await self._give_back()
                raise

    async def _renew_during(self, taking: Coroutine[object, object, None]) -> bool:
        """Await it, and keep the lease meanwhile: what there is to do may take longer than a term. False when the lease
        was lost: it was cancelled then, and has ended, so that nothing is begun after `on_lost`."""
        task = asyncio.ensure_future(taking)
        try:
            while not (await asyncio.wait({task}, timeout=self._ttl / 3))[0]:
                if self._mine is not None:
                    with suppress(StoreError):  # a later one may succeed
                        if not await self._renew(self._mine):
                            return False
            task.result()
            return True
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _is_free(self, document: JsonObject) -> bool:
        if self._is_dead_here(document):
            return True
        if document.get("holder") == self._me["holder"]:
            return True  # our own: a renewal that was written and said to have failed
        moment = time.monotonic()
        # A look counts for at most so long: minutes in which this process was stopped are not minutes in which
        # the other one did not renew.
        elapsed, self._looked = min(moment - self._looked, 2 * _POLL, self._ttl), moment
        if self._seen != document:
            self._seen, self._unchanged = document, 0.0
            return False
        self._unchanged += elapsed
        return self._unchanged > max(self._ttl, term_of(document))

    def _is_dead_here(self, document: JsonObject) -> bool:
        if self._shared and document.get("boot") != processes.boot():
            return False
        return processes.is_local(document) and not processes.alive(document)
