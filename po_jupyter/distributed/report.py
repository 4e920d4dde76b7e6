"""What one node can say of all of them: nodes, slots, versions, lag, the queue by priority."""

from __future__ import annotations

import asyncio

from po_jupyter.distributed.directory import DRAIN, Node, NodeDirectory
from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import NodeReport, WorkersReport, queue_report
from po_jupyter.store.protocol import Head, Store


class NodesView:
    """The `WorkersView` of a node."""

    def __init__(
        self, store: Store, directory: NodeDirectory, to_thread: ToThread, hints: QueueHints | None
    ) -> None:
        """Reads `store` in threads."""
        self._store = store
        self._directory = directory
        self._to_thread = to_thread
        self._hints = hints

    async def report(self) -> WorkersReport:
        """See `WorkersView`."""
        heads, asked = await self._to_thread(self._read)
        broker = None
        if self._hints is not None:
            broker = await asyncio.to_thread(self._hints.report)
        nodes = [_node(node, node.name in asked) for node in self._directory.nodes()]
        return {"nodes": nodes, "queue": queue_report(heads), "broker": broker}

    def _read(self) -> tuple[list[Head], frozenset[str]]:
        """The runs that have not ended, and the nodes that are to drain, whether or not they know it yet."""
        return self._store.active(), frozenset(self._store.names(DRAIN))

    async def drain(self, node: str) -> None:
        """See `WorkersView`. It lasts until that node is started again."""
        names = [other.name for other in self._directory.nodes()]
        if node not in names:
            raise NotFound(
                f"there is no node {node!r:.80}{did_you_mean(node, names)}", hint="`po workers` lists them."
            )
        await self._to_thread(self._store.put, DRAIN, node, {"at": now()})


def _node(node: Node, is_to_drain: bool) -> NodeReport:
    drains = node.draining or is_to_drain
    return {
        "name": node.name, "host": node.host, "pid": node.pid, "since": node.since, "version": node.version,
        "slots": node.slots, "running": node.running, "labels": list(node.labels),
        "state": "drains" if drains else "works" if node.slots else "serves", "silent": node.silent,
    }  # fmt: skip
