"""A node: this server as one of several over a shared store, put together for the orchestrator."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from po_jupyter.config import Settings
from po_jupyter.distributed.brokers.opening import check_url, open_queue
from po_jupyter.distributed.directory import KIND, NodeDirectory
from po_jupyter.distributed.dispatcher import NodeDispatcher
from po_jupyter.distributed.leadership import Leadership
from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.distributed.rate_share import RateShare
from po_jupyter.distributed.reaper import Reaper
from po_jupyter.distributed.report import NodesView
from po_jupyter.distributed.share import NodeShare
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.local import LocalDispatcher
from po_jupyter.orchestrator.dispatch.protocol import ActiveDispatcher, HolderService, ServiceGroup
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import WorkersView
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.store.documents import update
from po_jupyter.store.protocol import SharedStore, Store
from po_jupyter.worker.zygote import version

log = structlog.get_logger(__name__)

_QUEUE = "queue", "name"  # kind and name of the document
_LOOK = 0.5  # s between looks at which share this node has


def queue_name(store: Store) -> str:
    """The first part of the names of the store's queues at a broker: an id that is in the store. Blocks. Raises
    StoreError."""
    known = update(
        store, *_QUEUE, lambda there: there or {"id": secrets.token_hex(4)}, subject="the queues' name"
    )
    assert known is not None
    return f"po-{known['id']}"


def node_settings(settings: Settings) -> Settings:
    """The settings of a node: it has a name, and its workers notice its end before its runs go to others: they wait for
    a silent node for `orphan_timeout`, then as long for another one at its address."""
    name = settings.node or f"{socket.gethostname().split('.')[0]}-{short_digest(str(settings.data_dir), 4)}"
    return settings.model_copy(
        update={
            "node": name,
            "lease_ttl": settings.node_ttl,
            "heartbeat": min(settings.heartbeat, settings.node_ttl / 4),
            "orphan_timeout": min(settings.orphan_timeout, settings.node_ttl * 0.35),
        }
    )


class NodeDistribution:
    """The `Distribution` of one node; `settings` are those of `node_settings`."""

    def __init__(self, settings: Settings) -> None:
        """Reads and writes nothing yet. Raises InvalidSettings for a broker that is none: a node that starts all the
        same would say so when it has the store's lease."""
        assert settings.node is not None
        if settings.broker is not None:
            check_url(settings.broker.get_secret_value())
        self._settings = settings
        self._name = settings.node
        self._slots = settings.max_running if settings.node_works else 0
        self._share: NodeShare | None = None
        self._hints: QueueHints | None = None
        self._rates = self._new_share()  # its token is in the node's first document already
        self.workers: WorkersView | None = None
        self.document = (KIND, self._name)

    async def warm(self) -> None:
        """Return once this node can start a worker within a moment; at once where another process has its name."""
        while (share := self._share) is not None and not share.warm.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):  # who loses its lease meanwhile gets another share
                    await share.warm.wait()
        if self._share is None:
            log.warning(
                "another process has this node's name; this one works once that is gone", node=self._name
            )

    def describe(self) -> JsonObject:
        """See `Distribution`."""
        share = self._share
        return {
            "version": version(),
            "slots": self._slots,
            "running": share.supervisor.busy() if share is not None else 0,
            "labels": sorted(self._settings.node_labels),
            "rates": self._rates.token if self._rates is not None else "",
            "draining": share is not None and self._slots > 0 and not share.takes,
        }

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
        """See `Distribution`."""
        assert isinstance(store, SharedStore)
        ttl = self._settings.node_ttl
        directory = NodeDirectory(store, ttl)
        labels = self._settings.node_labels
        share = NodeShare(
            store,
            self._name,
            self._slots,
            labels,
            directory,
            to_thread,
            self._settings.max_shared_running if self._settings.shared_worker else None,
        )

        hints = self._hints = self._open_hints(store, share, directory, to_thread)
        if self.workers is not None:  # not the first time: what was used before is not known to the new limiter
            self._rates = self._new_share()

        def duties() -> HolderService:
            return ServiceGroup(Reaper(store, share, directory, to_thread, ttl, hints), lead())

        def changed(leads: bool) -> None:
            share.leads = leads

        leadership = Leadership(store, ttl, to_thread, duties, changed)
        dispatcher = NodeDispatcher(
            local(ServiceGroup(own, leadership), share), share, store, changes, directory, to_thread,
            node=self._name, ttl=ttl, hints=hints, rates=self._rates,
        )  # fmt: skip
        self._share = share
        self.workers = NodesView(store, directory, to_thread, hints)
        return dispatcher

    def _new_share(self) -> RateShare | None:
        """The node's share of the rate limits; None where nothing is limited, or it has no workers that call."""
        settings = self._settings
        if not settings.rate_limits or not self._slots:
            return None
        return RateShare(secrets.token_hex(8), settings.rate_limits, settings.rate_window, settings.node_ttl)

    def _open_hints(
        self, store: SharedStore, share: NodeShare, directory: NodeDirectory, to_thread: ToThread
    ) -> QueueHints | None:
        settings = self._settings
        if settings.broker is None:
            return None
        # Several stores may share a broker: none takes another's runs. The name is in the store: nodes may write its
        # address in different ways.
        url = settings.broker.get_secret_value()
        return QueueHints(
            lambda: open_queue(url, name=queue_name(store)), store, share, to_thread,
            labels=settings.node_labels, ttl=settings.node_ttl, node_labels=directory.labels,
        )  # fmt: skip
