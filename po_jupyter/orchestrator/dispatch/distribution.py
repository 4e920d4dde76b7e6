"""`Distribution`: the seam for several machines over one store. Without one, a server has the store alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.local import LocalDispatcher
from po_jupyter.orchestrator.dispatch.protocol import ActiveDispatcher, HolderService
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import WorkersView
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.store.protocol import Store


class Distribution(Protocol):
    """One node among those of a store."""

    document: tuple[str, str]  # kind and name of the lease of this node

    def describe(self) -> JsonObject:
        """What the lease says besides: slots, labels, load."""
        ...

    @property
    def workers(self) -> WorkersView | None:
        """What can be said of all nodes, once this one has joined."""
        ...

    def join(
        self,
        store: Store,
        changes: ChangeFeed,
        to_thread: ToThread,
        *,
        local: Callable[[HolderService, RunShare], LocalDispatcher],
        own: HolderService,
        lead: Callable[[], HolderService],
    ) -> ActiveDispatcher:
        """The dispatcher of this node, not started yet.

        `local` makes the one with the workers of this machine; `own` is what each node does besides, `lead` makes what
        one alone does.
        """
        ...
