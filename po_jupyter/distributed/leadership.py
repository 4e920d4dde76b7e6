"""Leadership: of the nodes of a store one has the orchestrator's lease, and does what one alone may do."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease
from po_jupyter.orchestrator.dispatch.protocol import HolderService
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import DocumentStore


class Leadership:
    """Runs services while this node leads: as a service of each node, which starts and ends them as the lease comes
    and goes."""

    def __init__(
        self,
        store: DocumentStore,
        ttl: float,
        to_thread: ToThread,
        services: Callable[[], HolderService],
        on_change: Callable[[bool], None],
    ) -> None:
        """`services` makes them anew for each time; `on_change` is told whether this node leads."""
        self._services = services
        self._on_change = on_change
        self._running: HolderService | None = None
        self._closed = False
        self._lease = OrchestratorLease(
            store, ttl, holder=secrets.token_hex(8), to_thread=to_thread,
            on_taken=self._lead, on_lost=self._step_back, shared=True,
        )  # fmt: skip

    async def start(self) -> None:
        """Lead when nobody does. Raises StoreError."""
        await self._lease.start()

    async def close(self) -> None:
        """End the services, give the lease back."""
        self._closed = True
        await self._step_back()
        await self._lease.stop()

    async def _lead(self) -> None:
        if self._closed:
            return
        running = self._running = self._services()
        self._on_change(True)
        await running.start()

    async def _step_back(self) -> None:
        running, self._running = self._running, None
        self._on_change(False)
        if running is not None:
            await running.close()
