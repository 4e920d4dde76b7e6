"""What one node can say of all of them: nodes, slots, versions, lag, the queue by priority."""

from __future__ import annotations

from po_jupyter.distributed.directory import DRAIN, Node, NodeDirectory
from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import now
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import NodeReport, WorkersReport, queue_report
from po_jupyter.store.protocol import Store


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

    async def nodes(self) -> list[NodeReport]:
        """See `WorkersView`. One that is to drain does, whether or not it knows it yet."""
        draining = frozenset(await self._to_thread(self._store.names, DRAIN))
        return [_node(node, node.name in draining) for node in self._directory.nodes()]

    async def report(self) -> WorkersReport:
        """See `WorkersView`."""
        heads = await self._to_thread(self._store.active)
        broker = await self._hints.report() if self._hints is not None else None
        return {"nodes": await self.nodes(), "queue": queue_report(heads), "broker": broker}

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
