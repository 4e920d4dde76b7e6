"""Hints through a message queue: runs that wait are published, and what arrives is claimed in the store or given back.

A message is answered as soon as the claim is decided, within a second: nothing is held at the broker while a run is at
work. One that is lost is published again by the leader, who sees in the store what waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple, TypeAlias, TypeVar

import structlog

from po_jupyter.distributed.brokers.protocol import USUAL_PRIORITY, Closer, MessageQueue, RunMessage, Verdict
from po_jupyter.distributed.share import NodeShare
from po_jupyter.errors import BrokerUnavailable, CorruptRow, NotFound, StoreError
from po_jupyter.model.run.definition import MAX_LABELS, RunDefinition
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.workers import BrokerReport
from po_jupyter.store.protocol import Head, SharedStore, waits_for_worker

log = structlog.get_logger(__name__)

_ROOM = 0.5  # s that a message may wait for room here
_ANSWER = 20.0  # s until a message goes back although nothing was decided
_AGAIN = 3.0  # terms after which a run that still waits is published again
AT_ONCE = 500  # runs that are published again in one look
_MOST = 20_000  # runs that are looked at for them
_TURNS = 5  # that a message is given back which this node cannot take, for others to see it ...
_FORGET = 60.0  # ... in so many seconds
_THREADS = 2
_PATIENCE = 1.0  # s that somebody waits for the broker, who does not need it
_LONG_PATIENCE = 15.0  # s; the queue gives up before

Labels: TypeAlias = tuple[str, ...]
T = TypeVar("T")


def level(priority: int) -> int:
    """The priority of a message, 0 to 9, for that of a run, -100 to 100."""
    if priority > 0:
        return min(9, 5 + (priority - 1) // 20)
    return USUAL_PRIORITY if priority == 0 else max(0, 3 - (-priority - 1) // 25)


class _Came(NamedTuple):
    """How often a message came, since when."""

    times: int
    since: float


class QueueHints:
    """One node's end of the queue. Lives on one loop."""

    def __init__(
        self,
        open_queue: Callable[[], MessageQueue],
        store: SharedStore,
        share: NodeShare,
        to_thread: ToThread,
        *,
        labels: Labels,
        ttl: float,
        node_labels: Callable[[], Collection[frozenset[str]]],
    ) -> None:
        """`open_queue` is called once, in a thread, when the queue is first used. `labels` are those of this node,
        `node_labels` those of each that takes runs. Nothing is consumed before `start`."""
        self._open_queue = open_queue
        self._opened: MessageQueue | None = None
        self._opening = Lock()
        self._store = store
        self._share = share
        self._to_thread = to_thread
        self._labels = labels
        self._ttl = ttl
        self._node_labels = node_labels
        self._since: dict[str, float] = {}  # when runs that wait were first seen, or published again
        self._fences: dict[str, int] = {}  # of runs that wait, as last seen
        self._unserved: dict[str, Labels] = {}  # of runs that wait for a node that has them
        self._unpublished: set[str] = set()  # runs that the broker did not take
        self._offered: set[str] = set()
        self._came: dict[str, _Came] = {}  # messages of runs that this node cannot work off; the latest last
        self._room = asyncio.Event()
        self._consumer: Closer | None = None
        self._problem: str | None = None
        # Of its own: a broker that is silent holds up its threads, and nobody else's.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="broker")

    @property
    def works(self) -> bool:
        """The broker answered when it was last asked."""
        return self._problem is None

    def problem(self) -> str | None:
        """What is wrong with the broker, for people, as of a tenth of a term ago; None when it answers. Asks nobody."""
        return self._problem

    def _queue(self) -> MessageQueue:
        """The queue. Blocks. Raises StoreError: its name is there."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open_queue()
            return self._opened

    async def _ask(self, request: Callable[[MessageQueue], T], patience: float) -> T:
        """What the broker answers within `patience` seconds; what was begun goes on. Raises BrokerUnavailable,
        StoreError."""
        answer = asyncio.get_running_loop().run_in_executor(self._threads, lambda: request(self._queue()))
        try:
            return await asyncio.wait_for(answer, patience)
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered for {patience:g} s") from None

    async def start(self, *, consumes: bool) -> None:
        """Take messages from now on, if this node has workers. Raises StoreError."""
        if not consumes:
            return
        loop = asyncio.get_running_loop()

        def take(message: RunMessage) -> Verdict:
            return asyncio.run_coroutine_threadsafe(self.offer(message.run), loop).result(_ANSWER)

        def consume() -> Closer:
            return self._queue().consume(take, labels=self._labels, threads=_THREADS)

        self._consumer = await self._to_thread(consume)

    async def stop_consuming(self) -> None:
        """Take no more; what has been taken is answered."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await asyncio.to_thread(consumer.close)

    async def close(self) -> None:
        """End all of it."""
        await self.stop_consuming()
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def has_room(self) -> None:
        """A slot became free: a message that waits for one goes on."""
        self._room.set()

    # -- publishing -----------------------------------------------------------------------------

    def window(self) -> int:
        """How many runs that wait to look at, for some to be among them that a node can take."""
        return min(_MOST, AT_ONCE + len(self._unserved))

    async def publish_again(self, heads: Iterable[Head], waiting_runs: int) -> None:
        """Publish runs that somebody had and gave back, or lost with its node: their messages are answered. And those
        that have waited for long, although messages of them should be there. The leader does it. `heads` are the first
        ones of all `waiting_runs`: the others have their turn when these are taken."""
        waiting = {head["run"]: head for head in heads if waits_for_worker(head)}
        moment = time.monotonic()
        self._since = {run: self._since.get(run, moment) for run in waiting}
        unserved = {run: labels for run, labels in self._unserved.items() if run in waiting}
        served = self._served(unserved)
        freed = [
            run
            for run, head in waiting.items()
            if head["fence"] and self._fences.get(run) != head["fence"] and run not in unserved
        ]
        self._fences = {run: head["fence"] for run, head in waiting.items()}
        late = [run for run in waiting if run not in unserved and self._is_late(run, moment)]
        if late and await self._has(waiting_runs - len(unserved)):
            late = []
        self._unserved = unserved
        for run in [*dict.fromkeys([*served, *freed, *late])][:AT_ONCE]:
            self._since[run] = moment
            self._unserved.pop(run, None)
            if labels := await self.publish(waiting[run]):
                self._unserved[run] = labels

    def _is_late(self, run: str, moment: float) -> bool:
        return moment - self._since[run] > _AGAIN * self._ttl

    async def publish(self, head: Head, definition: RunDefinition | None = None) -> Labels:
        """Publish a run that waits, within a second. Raises nothing: it is tried again once the broker answers. Its
        labels when no node has them, where it is not published: whoever submits runs makes up labels, and a broker
        keeps a queue for each.
        """
        run = head["run"]
        if run in self._offered:
            return ()  # a message of it is here, and goes back
        if not self.works:
            self._postpone(run)
            return ()
        try:
            if definition is None:
                definition = RunDefinition.from_json(await self._to_thread(self._store.definition, run))
            labels = tuple(sorted(set(definition.options.labels)))
            if labels and not self._served({run: labels}):
                log.info("a run waits for a node that has its labels", run=run, labels=labels)
                return labels
            message = RunMessage(run, level(head["priority"]), labels[:MAX_LABELS])  # older runs may have more
            await self._ask(lambda queue: queue.publish(message), _PATIENCE)
        except BrokerUnavailable as error:
            self._problem = error.message
            self._postpone(run)
            log.warning("a run is not published", run=run, error=error.message)
        except Exception as error:  # it keeps neither its submission nor the runs behind it from their turn
            log.warning("a run is not published", run=run, error=repr(error)[:500])
        return ()

    def _postpone(self, run: str) -> None:
        """Have the run published once the broker answers. Of more the leader sees that they wait for long."""
        if len(self._unpublished) < AT_ONCE:
            self._unpublished.add(run)

    def _served(self, runs: Mapping[str, Labels]) -> list[str]:
        """Of runs and their labels those that some node can take."""
        nodes = self._node_labels()
        return [run for run, labels in runs.items() if any(node.issuperset(labels) for node in nodes)]

    async def _has(self, messages: int) -> bool:
        """Whether the broker says that so many wait there."""
        if not self.works:
            return False
        try:
            depths = await self._ask(lambda queue: queue.depths(), _PATIENCE)
        except BrokerUnavailable:
            return False
        return (
            depths is not None
            and sum(n for name, n in depths.items() if not name.endswith(".dead")) >= messages
        )

    async def look(self) -> None:
        """Ask whether the broker answers: while it does not, runs are looked for in the store. Publish what it did not
        take. Raises StoreError."""
        try:
            await self._ask(lambda queue: queue.ping(), _LONG_PATIENCE)
            self._problem = None
        except BrokerUnavailable as error:
            if self.works:
                log.warning("the broker does not answer; runs are looked for in the store", error=error.message)
            self._problem = error.message
            return
        # The others may not have noticed, and wait for a message.
        while self.works and self._unpublished:
            run = self._unpublished.pop()
            try:
                head = await self._to_thread(self._store.head, run)
            except (NotFound, CorruptRow):
                continue
            if waits_for_worker(head):
                await self.publish(head)

    async def report(self) -> BrokerReport:
        """How the broker is. One that is silent is said to be so within a second: probes wait for two, and everything
        goes on without it."""
        try:
            return {"works": True, "depths": await self._ask(lambda queue: queue.depths(), _PATIENCE)}
        except BrokerUnavailable:
            return {"works": False, "depths": None}

    # -- consuming ------------------------------------------------------------------------------

    async def offer(self, run: str) -> Verdict:
        """Take the run of a message, when it still waits and there is room here."""
        if not await self._wait_for_room(lambda: self._share.free() > 0):
            return Verdict.BACK
        self._offered.add(run)
        try:
            head = await self._to_thread(self._store.head, run)
            if not waits_for_worker(head):
                return Verdict.TAKEN
            # A moment for its own kind too, for the same messages would come again and again.
            if not await self._wait_for_room(lambda: self._share.has_room_for(head)):
                return Verdict.BACK
            await self._share.take_up(head)
            if not waits_for_worker(await self._to_thread(self._store.head, run)):
                return Verdict.TAKEN
            return Verdict.TAKEN if self._is_for_nobody(run) else Verdict.BACK
        except (NotFound, CorruptRow):
            return Verdict.TAKEN
        except StoreError as error:
            log.warning("a message goes back", run=run, error=error.message)
            return Verdict.BACK
        finally:
            self._offered.discard(run)

    def _is_for_nobody(self, run: str) -> bool:
        """Whether a run that this node cannot work off came back so often that no other seems to want it: an urgent one
        would come first for ever, and keep the others from being heard of. It is in the store, and published again."""
        if self._share.may_fit(run):
            return False
        moment = time.monotonic()
        came = self._came.pop(run, _Came(0, moment))
        if moment - came.since > _FORGET:
            came = _Came(0, moment)
        self._came[run] = came._replace(times=came.times + 1)
        if len(self._came) > _MOST:
            del self._came[next(iter(self._came))]
        return came.times >= _TURNS

    async def _wait_for_room(self, has_room: Callable[[], bool]) -> bool:
        if has_room():
            return True
        self._room.clear()
        try:
            async with asyncio.timeout(_ROOM):
                while not has_room():
                    await self._room.wait()
                    self._room.clear()
        except TimeoutError:
            return False
        return True
