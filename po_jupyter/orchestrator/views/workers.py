"""The servers that work runs off, and the queue before them, for people and probes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias, TypedDict

from po_jupyter.errors import Conflict
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import Head, RunStore, waits_for_worker

NodeState: TypeAlias = Literal["works", "serves", "drains"]


class NodeReport(TypedDict):
    """One server of the store. `slots` is how many workers it may have at once; `silent` for how many seconds it has
    not been heard of; `state`: it works, only serves, or drains."""

    name: str
    host: str
    pid: int
    since: str
    version: str
    slots: int
    running: int
    labels: list[str]
    state: NodeState
    silent: float


class QueueReport(TypedDict):
    """Runs that have a worker, that wait for one (in all and by priority), and for how many seconds the first does."""

    running: int
    queued: int
    priorities: dict[str, int]
    oldest: float | None


class BrokerReport(TypedDict):
    """Whether the message broker answers, and how many messages wait, by queue (None: it cannot say)."""

    works: bool
    depths: Mapping[str, int] | None


class WorkersReport(TypedDict):
    """See the parts; `broker` is None where there is none."""

    nodes: list[NodeReport]
    queue: QueueReport
    broker: BrokerReport | None


class WorkersView(Protocol):
    """Tells of the servers of a store."""

    async def nodes(self) -> list[NodeReport]:
        """Those that are not gone. Raises StoreError."""
        ...

    async def report(self) -> WorkersReport:
        """Raises StoreError."""
        ...

    async def drain(self, node: str) -> None:
        """Have a node give its runs to others. Raises NotFound, Conflict, StoreError."""


def queue_report(heads: Iterable[Head]) -> QueueReport:
    """The queue of the runs that have not ended."""
    heads = list(heads)
    waiting = [head for head in heads if waits_for_worker(head)]
    priorities = Counter(head["priority"] for head in waiting)
    first = min((head["updated_at"] for head in waiting), default=None)
    return {
        "running": sum(head["holder"] is not None for head in heads),
        "queued": len(waiting),
        "priorities": {str(priority): priorities[priority] for priority in sorted(priorities, reverse=True)},
        "oldest": None if first is None else round(max(0.0, _age(first)), 1),
    }


def _age(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


class LocalWorkers:
    """The server that has its store alone. `describe` says `{name, slots, running, version}`, `lease` the document of
    who has the workers."""

    def __init__(
        self,
        store: RunStore,
        to_thread: ToThread,
        describe: Callable[[], JsonObject],
        lease: Callable[[], JsonObject | None],
    ) -> None:
        """Reads `store` in threads."""
        self._store = store
        self._to_thread = to_thread
        self._describe = describe
        self._lease = lease

    async def nodes(self) -> list[NodeReport]:
        """See `WorkersView`."""
        holder, mine = self._lease(), self._describe()
        if holder is None:
            return []
        return [{
            "name": str(holder.get("host", "")), "host": str(holder.get("host", "")), "pid": holder["pid"],
            "since": holder["since"], "version": mine["version"], "slots": mine["slots"],
            "running": mine["running"] or 0, "labels": [], "state": "works", "silent": 0.0,
        }]  # fmt: skip

    async def report(self) -> WorkersReport:
        """See `WorkersView`."""
        heads = await self._to_thread(self._store.active)
        return {"nodes": await self.nodes(), "queue": queue_report(heads), "broker": None}

    async def drain(self, node: str) -> None:
        """See `WorkersView`."""
        raise Conflict(
            "one server has this store alone: nobody could go on with its runs",
            hint="`po stop` has it finish what is in flight. Several machines need PO_STORE: po help several-machines",
        )
