"""Hints through a message queue: runs that wait are published, and what arrives is claimed in the store or given back.

A message is answered as soon as the claim is decided, within a second: nothing is held at the broker while a run is at
work. One that is lost is published again by the leader, who sees in the store what waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import structlog

from po_jupyter.distributed.brokers.protocol import Closer, MessageQueue, RunMessage, Verdict
from po_jupyter.distributed.share import NodeShare
from po_jupyter.errors import CorruptRow, NotFound, PoError, StoreError
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import BrokerReport, waits
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger(__name__)

_ROOM = 0.5  # s that a message may wait for room here
_ANSWER = 20.0  # s until a message goes back although nothing was decided
_AGAIN = 3.0  # terms after which a run that still waits is published again
_MOST = 500  # runs that are published again in one look
_THREADS = 2


def level(priority: int) -> int:
    """The priority of a message, 0 to 9, for that of a run, -100 to 100; 4 is that of most."""
    if priority > 0:
        return min(9, 5 + (priority - 1) // 20)
    return 4 if priority == 0 else max(0, 3 - (-priority - 1) // 25)


class QueueHints:
    """One node's end of the queue. Lives on one loop."""

    def __init__(
        self,
        queue: MessageQueue,
        store: Store,
        share: NodeShare,
        to_thread: ToThread,
        *,
        labels: tuple[str, ...],
        ttl: float,
    ) -> None:
        """`labels` are those of this node. Nothing is consumed before `start`."""
        self._queue = queue
        self._store = store
        self._share = share
        self._to_thread = to_thread
        self._labels = labels
        self._ttl = ttl
        self._published: dict[str, float] = {}
        self._offered: set[str] = set()
        self._room = asyncio.Event()
        self._consumer: Closer | None = None
        self.works = True  # the broker answered when it was last asked

    def start(self, *, consumes: bool) -> None:
        """Take messages from now on, if this node has workers."""
        if not consumes:
            return
        loop = asyncio.get_running_loop()

        def take(message: RunMessage) -> Verdict:
            return asyncio.run_coroutine_threadsafe(self.offer(message.run), loop).result(_ANSWER)

        self._consumer = self._queue.consume(take, labels=self._labels, threads=_THREADS)

    async def close(self) -> None:
        """Take no more; what has been taken is answered."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await asyncio.to_thread(consumer.close)
        await asyncio.to_thread(self._queue.close)

    def has_room(self) -> None:
        """A slot became free: a message that waits for one goes on."""
        self._room.set()

    # -- publishing -----------------------------------------------------------------------------

    async def publish(self, head: Head, definition: RunDefinition | None = None) -> None:
        """Publish a run that waits. Raises nothing: the leader tries again."""
        run = head["run"]
        if run in self._offered:
            return  # a message of it is here, and goes back
        self._published[run] = time.monotonic()
        try:
            if definition is None:
                definition = RunDefinition.from_json(await self._to_thread(self._store.definition, run))
            message = RunMessage(run, level(head["priority"]), definition.options.labels)
            await asyncio.to_thread(self._queue.publish, message)
            self.works = True
        except PoError as error:
            self.works = False
            log.warning("a run is not published", run=run, error=error.message)

    async def publish_again(self, heads: Iterable[Head]) -> None:
        """Publish runs that have waited for long, although messages of them should be there; the leader does it."""
        waiting = [head for head in heads if waits(head)]
        moment = time.monotonic()
        known = {head["run"]: self._published.setdefault(head["run"], moment) for head in waiting}
        self._published = known
        late = [head for head in waiting if moment - known[head["run"]] > _AGAIN * self._ttl]
        if late and not await self._has(len(waiting)):
            for head in late[:_MOST]:
                await self.publish(head)

    async def _has(self, messages: int) -> bool:
        """Whether the broker says that so many wait there."""
        try:
            depths = await asyncio.to_thread(self._queue.depths)
        except PoError:
            return False
        return (
            depths is not None
            and sum(n for name, n in depths.items() if not name.endswith(".dead")) >= messages
        )

    async def look(self) -> None:
        """Ask whether the broker answers: while it does not, runs are looked for in the store."""
        try:
            await asyncio.to_thread(self._queue.ping)
            self.works = True
        except PoError as error:
            if self.works:
                log.warning("the broker does not answer; runs are looked for in the store", error=error.message)
            self.works = False

    def report(self) -> BrokerReport:
        """How the broker is. Blocks."""
        try:
            return {"works": True, "depths": self._queue.depths()}
        except PoError:
            return {"works": False, "depths": None}

    # -- consuming ------------------------------------------------------------------------------

    async def offer(self, run: str) -> Verdict:
        """Take the run of a message, when it still waits and there is room here."""
        if not await self._wait_for_room():
            return Verdict.BACK
        self._offered.add(run)
        try:
            head = await self._to_thread(self._store.head, run)
            if not waits(head):
                return Verdict.TAKEN
            await self._share.take_up(head)
            return Verdict.BACK if waits(await self._to_thread(self._store.head, run)) else Verdict.TAKEN
        except (NotFound, CorruptRow):
            return Verdict.TAKEN
        except StoreError as error:
            log.warning("a message goes back", run=run, error=error.message)
            return Verdict.BACK
        finally:
            self._offered.discard(run)

    async def _wait_for_room(self) -> bool:
        if self._share.free() > 0:
            return True
        self._room.clear()
        try:
            async with asyncio.timeout(_ROOM):
                while self._share.free() <= 0:
                    await self._room.wait()
                    self._room.clear()
        except TimeoutError:
            return False
        return True
