"""One orchestrator per store: the document ("lease", "orchestrator"), taken by compare-and-swap.

It is lost by dying (a process of this host and boot that is gone frees it at once) or by not renewing it for
`lease_ttl` seconds. Whether it lapsed is judged by watching its counter on the own monotonic clock: clocks
that are set and laptops that sleep change nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from po_jupyter.errors import StoreError
from po_jupyter.model.run.events import now
from po_jupyter.platform import processes
from po_jupyter.store.protocol import DocumentStore

log = structlog.get_logger("po_jupyter.lease")

KIND, NAME = "lease", "orchestrator"
_LOOK = 0.5  # s between looks of those who do not hold it


class OrchestratorLease:
    """Takes, renews and gives back the lease. `on_taken` and `on_lost` are awaited when it changes hands."""

    def __init__(
        self,
        store: DocumentStore,
        ttl: float,
        *,
        holder: str,
        run_off_loop: Callable[..., Awaitable[Any]],
        on_taken: Callable[[], Awaitable[None]],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._me = {"holder": holder, **processes.myself()}
        self._do = run_off_loop
        self._on_taken = on_taken
        self._on_lost = on_lost
        self._mine: dict[str, Any] | None = None
        self._renewed = 0.0
        self._seen: Any = None
        self._looked = 0.0
        self._unchanged = 0.0  # s
        self._task: asyncio.Task[None] | None = None
        self.document: dict[str, Any] | None = None  # as last seen, whoever holds it

    @property
    def held(self) -> bool:
        """Is it ours, and renewed in time?"""
        return self._mine is not None and time.monotonic() - self._renewed < self._ttl

    async def start(self) -> None:
        """Try once now, then keep at it."""
        await self._step()
        self._task = asyncio.create_task(self._keep(), name="orchestrator lease")

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
                await self._do(self._store.swap, KIND, NAME, mine, None)
            except StoreError as error:  # it lapses by itself, at once when this process ends
                log.error("the lease cannot be given back", error=error.message)

    async def _keep(self) -> None:
        while True:
            # A holder renews three times a term; the others look for its death twice a second.
            await asyncio.sleep(self._ttl / 3 if self._mine is not None else min(_LOOK, self._ttl / 3))
            try:
                await self._step()
            except StoreError as error:
                log.error("the lease cannot be kept", error=error.message)
            except Exception:  # without this task nobody would ever hold the store again
                log.exception("unexpected while keeping the lease")

    async def _step(self) -> None:
        if self._mine is not None:
            await self._renew(self._mine)
        else:
            await self._look()

    async def _renew(self, mine: dict[str, Any]) -> None:
        fresh = {**mine, "renewed": now(), "count": mine["count"] + 1}
        if await self._do(self._store.swap, KIND, NAME, mine, fresh):
            self._mine = self.document = fresh
            self._renewed = time.monotonic()
        else:
            log.warning("another orchestrator took over")
            self._mine = None
            await self._on_lost()

    async def _look(self) -> None:
        found = await self._do(self._store.get, KIND, NAME)
        self.document = found
        if found is not None and not self._free(found):
            return
        fresh = {**self._me, "since": now(), "renewed": now(), "count": 1}
        if await self._do(self._store.swap, KIND, NAME, found, fresh):
            self._mine = self.document = fresh
            self._renewed = time.monotonic()
            log.info("orchestrator", pid=fresh["pid"], after=(found or {}).get("pid"))
            try:
                await self._on_taken()
            except Exception:
                # Held by somebody who does nothing, it would keep everybody from working: the next step tries
                # again, here or in another server.
                await self._on_lost()
                await self._give_back()
                raise

    def _free(self, found: dict[str, Any]) -> bool:
        if processes.is_local(found) and not processes.alive(found):
            return True
        if found.get("holder") == self._me["holder"]:
            return True  # our own: a renewal that was written and said to have failed
        moment = time.monotonic()
        # A look counts for at most so long: minutes in which this process was stopped are not minutes in which
        # the other one did not renew.
        passed, self._looked = min(moment - self._looked, 2 * _LOOK, self._ttl), moment
        if self._seen != found:
            self._seen, self._unchanged = found, 0.0
            return False
        self._unchanged += passed
        return self._unchanged > self._ttl
