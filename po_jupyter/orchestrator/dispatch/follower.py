"""The dispatcher of a server that does not hold the store's lease: it notifies the holder, and asks for its load."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import structlog

from po_jupyter.errors import CorruptRow, NotFound, PoError, Unavailable
from po_jupyter.ipc import channel
from po_jupyter.ipc.messages import CallWait
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.dispatch.protocol import DispatchLoad
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.waits import RunWaits
from po_jupyter.orchestrator.workers.queue import RunQueue
from po_jupyter.store.protocol import Head, ListeningStore, Store

log = structlog.get_logger(__name__)

_POLL = 0.25  # s between looks at the heads while somebody subscribes
_COUNT = 5.0  # s between counts of live runs
_ASK = 1.0  # s between questions to the holder about its load
_POSITIONS = 1000  # queued runs whose places are counted when nobody answers


class HolderLoad(TypedDict):
    """The load of the holder as it reports it (`WorkerGateway`): how many runs, the places of those queued, why others
    wait for the store, calls that wait for a rate limit, and the limits (None: not known)."""

    running: int | None
    queued: int | None
    positions: dict[str, int]
    held: dict[str, str]
    waits: list[CallWait]
    rates: dict[str, dict[str, int]] | None


_REPORTED = frozenset({"running", "queued", "positions", "held"})
_UNKNOWN: HolderLoad = {
    "running": None, "queued": None, "positions": {}, "held": {}, "waits": [], "rates": None,
}  # fmt: skip


class Follower:
    """Polls the heads of runs while somebody subscribes to them, unless the store says by itself what changes, and asks
    the holder for its load.

    While the holder does not answer, the load is counted from the store. Before `start` it knows nothing.
    """

    is_holder = False
    checks_environment = False

    def __init__(self, store: Store, changes: ChangeFeed, to_thread: ToThread, address: Path) -> None:
        """`address` is where the holder listens."""
        self._address = address
        self._store = store
        self._changes = changes
        self._to_thread = to_thread
        self._live = 0
        self._load = _UNKNOWN
        self._seen: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Poll from now on."""
        self._task = asyncio.create_task(self._poll(), name="following")

    async def close(self, *, drain: bool = False) -> None:
        """Stop polling. There are no workers here to drain."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- dispatching ----------------------------------------------------------------------------

    async def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Tell the holder of a new run."""
        await self.changed(head["run"])

    async def changed(self, run: str) -> None:
        """Tell the holder; when it does not hear, the next one finds the run in the store."""
        if not await self.notify(run):
            log.warning("no orchestrator answers; the run starts when one does", run=run)

    async def release(self, run: str) -> None:
        """None of the workers is here. Raises Unavailable."""
        raise Unavailable(
            "another server of this data directory works off its runs, and this one cannot take one from it",
            hint="Ask that server: `po` without PO_JUPYTER_URL finds it.",
        )

    async def take_back(self, run: str) -> None:
        """Tell the holder."""
        await self.changed(run)

    async def notify(self, run: str | None) -> bool:
        """Have the holder look at a run, or at nothing; True when it answered. What it says of its load is kept."""
        reply = await channel.notify(self._address, run)
        load = reply.load if reply is not None else None
        if load is not None and load.keys() >= _REPORTED:
            reasons = self._load["held"]
            self._load = HolderLoad(
                running=load["running"],
                queued=load["queued"],
                positions=load["positions"],
                held=load["held"],
                waits=load.get("waits", []),
                rates=load.get("rates"),
            )
            for name in reasons.keys() ^ self._load["held"].keys():
                self._changes.store_wait(name, self._load["held"].get(name))
                self._changes.changed(name)
        return reply is not None

    # -- what is known of the holder ------------------------------------------------------------

    def position(self, run: str) -> int | None:
        """The place of a queued run, as the holder reported it."""
        return self._load["positions"].get(run)

    def waiting_reason(self, run: str) -> str | None:
        """The reason why the run waits for the store, as the holder reported it."""
        return self._load["held"].get(run)

    def load(self) -> DispatchLoad:
        """The load of the holder, as it reported it a moment ago."""
        return {"running": self._load["running"], "queued": self._load["queued"]}

    def waits(self) -> RunWaits:
        """The runs that wait, as the holder reported them a moment ago."""
        load = self._load
        return {"calls": load["waits"], "store": load["held"], "queue": load["positions"]}

    def live_runs(self) -> int:
        """Runs in the store that are at work or queued."""
        return self._live

    def rate_limits(self) -> Mapping[str, object] | None:
        """The limits that the holder hands out, as it reported them a moment ago."""
        return self._load["rates"]

    # -- polling --------------------------------------------------------------------------------

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        last_count, last_load = -_COUNT, -_ASK
        listens = isinstance(self._store, ListeningStore)
        while True:
            interests = set() if listens else self._changes.interests()
            try:
                if loop.time() - last_load >= _ASK:
                    await self._refresh_load()
                    last_load = loop.time()
                if loop.time() - last_count >= _COUNT:
                    heads = await self._to_thread(self._store.active)
                    self._live = sum(h["state"] != "waiting" for h in heads)
                    last_count = loop.time()
                if interests:
                    self._publish(await self._to_thread(self._last_records, interests))
            except PoError as error:
                log.warning("cannot look at the store", error=error.message)
            await asyncio.sleep(_POLL)

    async def _refresh_load(self) -> None:
        if await self.notify(None):
            return
        heads = await self._to_thread(self._store.active)
        queue = RunQueue()
        for head in heads:
            if head["state"] == "pending" or (head["state"] == "running" and head["holder"] is None):
                queue.add(head)
        running = sum(h["state"] == "running" and h["holder"] is not None for h in heads)
        positions = queue.positions(_POSITIONS)
        self._load = {**_UNKNOWN, "running": running, "queued": len(queue), "positions": positions}

    def _last_records(self, interests: set[str | None]) -> dict[str, int]:
        """The number of the last record of each run that somebody subscribes to; -1 for one that is gone."""
        last: dict[str, int] = {}
        for run in interests:
            if run is None:
                last.update((h["run"], h["n"]) for h in self._store.runs(limit=50).heads)
            else:
                try:
                    last[run] = self._store.head(run)["n"]
                except (NotFound, CorruptRow):
                    last[run] = -1
        return last

    def _publish(self, last: dict[str, int]) -> None:
        for run, n in last.items():
            if self._seen.get(run) != n:
                self._changes.changed(run)
        self._seen = last
