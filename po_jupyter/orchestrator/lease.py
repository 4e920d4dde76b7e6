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
from po_jupyter.model.event import now
from po_jupyter.orchestrator import processes
from po_jupyter.store.base import Store

log = structlog.get_logger("po_jupyter.lease")

KIND, NAME = "lease", "orchestrator"


class OrchestratorLease:
    """Takes, renews and gives back the lease. `on_taken` and `on_lost` are awaited when it changes hands."""

    def __init__(
        self,
        store: Store,
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
        self._seen: tuple[Any, float] = (None, 0.0)
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
        mine, self._mine = self._mine, None
        if mine is not None:
            await self._do(self._store.swap, KIND, NAME, mine, None)

    async def _keep(self) -> None:
        while True:
            # A holder renews three times a term; the others look for its death twice a second.
            await asyncio.sleep(self._ttl / 3 if self._mine is not None else min(0.5, self._ttl / 3))
            try:
                await self._step()
            except StoreError as error:
                log.error("the lease cannot be kept", error=error.message)

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
            await self._on_taken()

    def _free(self, found: dict[str, Any]) -> bool:
        if processes.is_local(found) and not processes.alive(found):
            return True
        state, since = self._seen
        if state != found:
            self._seen = (found, time.monotonic())
            return False
        return time.monotonic() - since > self._ttl
