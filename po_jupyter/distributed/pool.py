"""The pool: the runs of a store that wait for a worker, and how a node with room finds its next ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

import structlog

from po_jupyter.distributed.queue_hints import QueueHints
from po_jupyter.distributed.share import NodeShare, fair_order
from po_jupyter.errors import PoError
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import EVERY_KIND, Head, SharedStore

log = structlog.get_logger(__name__)

_PAUSE = 0.05  # s between two looks at least: hints come in bursts
_SHARE = (
    5  # a look that took t is followed by a pause of this times t: thousands of runs wait, they are no hurry
)
_MOST_PAUSE = 1.0  # s
_POSITIONS = 1000  # runs whose places are known
_OVERDUE = 8  # runs that are taken without a message between two times that places are noted


class RunPool:
    """Takes runs while there is room. `wake` says that there may be some; without it one look a term is enough.

    While a broker answers, messages say what to take, and here only runs are taken that have waited for a term, in the
    fair order: their messages may be behind many of another owner, or that this node cannot take.
    """

    def __init__(
        self, store: SharedStore, share: NodeShare, to_thread: ToThread, ttl: float, hints: QueueHints | None
    ) -> None:
        """Looks at nothing before `take_often`. `hints` are those of a broker, if there is one."""
        self._hints = hints
        self._store = store
        self._share = share
        self._to_thread = to_thread
        self._every = ttl / 5
        self._ttl = ttl
        self._noted = float("-inf")  # when places were, for which many runs are read
        self._woken = asyncio.Event()
        self._waiting: Mapping[str, int] = {}  # runs that waited when places were noted last, with their fences
        self._next: list[Head] = []  # runs that are taken once there is room
        self.places: Mapping[str, int] = {}  # of runs that wait, from 1
        self.running: int | None = None
        self.queued: int | None = None

    def wake(self) -> None:
        """There may be runs, or room."""
        self._woken.set()

    def position(self, run: str) -> int | None:
        """The place of a run among those that wait."""
        return self.places.get(run)

    async def take_often(self) -> None:
        """Look for runs, again and again. Runs until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self._take()
            except PoError as error:
                log.warning("cannot look for runs", error=error.message)
            except Exception:  # without this task no run would ever be taken here again
                log.exception("unexpected while looking for runs")
            took = time.monotonic() - began
            await asyncio.sleep(min(_MOST_PAUSE, max(_PAUSE, _SHARE * took)))
            await self._wait()

    async def _wait(self) -> None:
        """Until there is reason to look: a hint while there is room here, or time has passed."""
        try:
            async with asyncio.timeout(self._every):
                while True:
                    await self._woken.wait()
                    self._woken.clear()
                    if self._takes() or any(map(self._share.has_room_for, self._next)):
                        return
        except TimeoutError:
            pass

    def _takes(self) -> bool:
        return self._share.free() > 0 and (self._hints is None or not self._hints.works)

    async def _take(self) -> None:
        is_due = time.monotonic() >= self._noted + self._ttl
        if is_due or self._takes():
            window, kinds = self._share.window(max(0, self._share.free())), self._share.kinds()
            if is_due:
                window, kinds = max(window, _POSITIONS), [*EVERY_KIND]
            heads = await self._to_thread(self._look, window, kinds)
            if is_due:
                await self._note(heads)
            if self._takes():
                self._next = self._share.candidates(heads, self._share.free())
        heads, self._next = self._next, []
        for head in heads:
            if self._share.has_room_for(head):
                await self._share.take_up(head)
            else:
                self._next.append(head)

    def _look(self, limit: int, kinds: Collection[bool | None]) -> list[Head]:
        """The first runs of these kinds that wait, and those that somebody has: they say whose turn it is."""
        return [*self._store.waiting(limit, kinds), *self._store.held()]

    async def _note(self, heads: list[Head]) -> None:
        self._noted = time.monotonic()
        self.queued = await self._to_thread(self._store.count_waiting)
        self.running = sum(head["holder"] is not None for head in heads)
        ordered = fair_order(heads)[:_POSITIONS]
        self.places = {head["run"]: place for place, head in enumerate(ordered, 1)}
        before, self._waiting = self._waiting, {head["run"]: head["fence"] for head in ordered}
        self._next = [head for head in ordered if before.get(head["run"]) == head["fence"]][:_OVERDUE]
