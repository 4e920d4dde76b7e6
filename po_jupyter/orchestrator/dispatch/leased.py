"""The dispatcher of one server among those that share a store: local while it holds the lease, a follower otherwise.

This is the one place where the two are swapped; everybody else calls a `Dispatcher`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.follower import Follower
from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease
from po_jupyter.orchestrator.dispatch.protocol import ActiveDispatcher, DispatchLoad
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.waits import RunWaits
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.protocol import Head, Store


class LeasedDispatcher:
    """Forwards to the dispatcher that is active now."""

    def __init__(
        self,
        store: Store,
        changes: ChangeFeed,
        *,
        lease_ttl: float,
        to_thread: ToThread,
        hold: Callable[[], ActiveDispatcher],
        follow: Callable[[], Follower],
        document: tuple[str, str] = ORCHESTRATOR_LEASE,
        describe: Callable[[], JsonObject] = dict,
    ) -> None:
        """`hold` and `follow` make the dispatcher of each side anew, not started yet. `document` is the lease, and
        `describe` what else is written there."""
        self._changes = changes
        self._hold = hold
        self._follow = follow
        self._active: ActiveDispatcher = follow()
        self._closed = False
        self._holds = False
        self._lease = OrchestratorLease(
            store, lease_ttl, holder=secrets.token_hex(8), to_thread=to_thread,
            on_taken=self._lease_taken, on_lost=self._lease_lost,
            document=document, describe=describe, shared=document != ORCHESTRATOR_LEASE,
        )  # fmt: skip

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the lease when it is free and recover, or follow. Raises StoreError."""
        await self._lease.start()
        if not self._holds:
            await self._active.start()

    async def close(self) -> None:
        """Have the workers finish what is in flight, give the lease back."""
        self._closed = True
        await self._replace(self._follow(), drain=True)
        await self._lease.stop()
        await self._active.close(drain=False)  # follows when the lease was lost meanwhile

    async def _lease_taken(self) -> None:
        if self._closed:
            return  # it was lost while we drained, and is given back at once
        self._holds = True
        await self._replace(self._hold(), drain=False)
        await self._active.start()

    async def _lease_lost(self) -> None:
        self._holds = False
        # The workers live on: they look for whoever holds the lease now.
        await self._replace(self._follow(), drain=False)
        await self._active.start()

    async def _replace(self, new: ActiveDispatcher, *, drain: bool) -> None:
        old, self._active = self._active, new
        await old.close(drain=drain)

    # -- the active dispatcher ------------------------------------------------------------------

    @property
    def active(self) -> ActiveDispatcher:
        """The dispatcher that is called now."""
        return self._active

    @property
    def is_closed(self) -> bool:
        """`close` was called."""
        return self._closed

    @property
    def lease_document(self) -> JsonObject | None:
        """The lease of any holder as it was last seen: `{pid, since, ...}`; None without a holder."""
        return self._lease.document

    @property
    def is_holder(self) -> bool:
        """True when this server has the workers."""
        return self._active.is_holder

    @property
    def checks_environment(self) -> bool:
        """Runs see this process's environment."""
        return self._active.checks_environment

    async def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Publish that there is a new run, and have it worked off."""
        self._changes.changed(head["run"])
        await self._active.submitted(head, definition)

    async def changed(self, run: str) -> None:
        """Publish that the run changed, and have what its log asks for done."""
        self._changes.changed(run)
        await self._active.changed(run)

    async def release(self, run: str) -> None:
        """Have the run given back."""
        await self._active.release(run)

    async def take_back(self, run: str) -> None:
        """Look after the run again."""
        self._changes.changed(run)
        await self._active.take_back(run)

    def position(self, run: str) -> int | None:
        """The place of a queued run, 1 is next."""
        return self._active.position(run)

    def waiting_reason(self, run: str) -> str | None:
        """The reason why the run waits for the store."""
        return self._active.waiting_reason(run)

    def load(self) -> DispatchLoad:
        """The load of the workers."""
        return self._active.load()

    def waits(self) -> RunWaits:
        """The runs that wait, and what each waits for."""
        return self._active.waits()

    def live_runs(self) -> int:
        """Runs at work or queued."""
        return self._active.live_runs()

    def rate_limits(self) -> Mapping[str, object] | None:
        """The rate limits that are handed out here."""
        return self._active.rate_limits()
