"""The share of one node: which runs of the store are its own, and how it takes those that nobody has.

A run is a node's when its holder says so. One without a holder that waits for a worker is in the pool: nodes with room
look there, most urgent first and fair over owners, and the claim under a fence decides who has it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import structlog

from po_jupyter.distributed.directory import NodeDirectory
from po_jupyter.errors import CorruptRow, NotFound, StaleFence
from po_jupyter.model.run.definition import FORMAT, RunDefinition
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.workers.launcher import import_directory
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.orchestrator.workers.worker_exits import is_reserved_here
from po_jupyter.platform import processes
from po_jupyter.platform.processes import Identity
from po_jupyter.store.documents import is_copied
from po_jupyter.store.protocol import EVERY_KIND, Commit, Head, SharedStore, waits_for_worker

log = structlog.get_logger(__name__)

_MOST = 5000  # runs of a kind that are looked at at once
_PAGE = 500  # heads that are read at once
_UNFIT = 60.0  # s until a run that this node cannot work off is looked at again


def fair_order(heads: Iterable[Head]) -> list[Head]:
    """The runs that wait, in the order in which they are to be taken: by priority, then the owner whose turn it is (who
    has fewest at work and before this one), then by age."""
    turns: Counter[str] = Counter()
    waiting = []
    for head in heads:
        if waits_for_worker(head):
            waiting.append(head)
        elif head["holder"] is not None:
            turns[head["owner"]] += 1
    keyed = []
    for head in sorted(waiting, key=lambda head: (-head["priority"], head["created_at"], head["run"])):
        keyed.append((-head["priority"], turns[head["owner"]], head["created_at"], head["run"], head))
        turns[head["owner"]] += 1
    return [entry[-1] for entry in sorted(keyed, key=lambda entry: entry[:-1])]


def is_left(holder: Identity | None) -> bool:
    """Whether a run of a node has no worker there: it is only reserved, or the worker is gone."""
    return holder is not None and (holder.get("reserves", False) or not processes.alive(holder))


class NodeShare:
    """The `RunShare` of a node. `supervisor` is set before it is used; lives on one loop but for `active`."""

    supervisor: Supervisor

    def __init__(
        self,
        store: SharedStore,
        node: str,
        slots: int,
        labels: tuple[str, ...],
        directory: NodeDirectory,
        to_thread: ToThread,
        shared_slots: int | None = 500,
    ) -> None:
        """`slots` is how many workers the node may have at once that work off one run each, `shared_slots` how many
        runs in processes of many; None where it has no such processes."""
        self._shared_slots = shared_slots
        self._store = store
        self._node = node
        self._slots = slots
        self._labels = frozenset(labels)
        self._directory = directory
        self._to_thread = to_thread
        self._taking: Counter[bool | None] = Counter()  # by `shareable`
        self._unfit: dict[str, float] = {}
        self.warm = asyncio.Event()  # a worker can be started within a moment
        self.takes = slots > 0  # until it drains
        self.leads = False
        self.on_room: Callable[[], None] = lambda: None
        self.on_left: Callable[[Head], None] = lambda head: None

    @property
    def me(self) -> Identity:
        """The identity under which this node takes runs for its workers."""
        return {**processes.myself(), "node": self._node, "reserves": True}

    # -- of RunShare ----------------------------------------------------------------------------

    def active(self) -> list[Head]:
        """Its own runs; the leader also looks after those that wait for somebody, which no worker has. None while the
        store is copied: whatever went on now would be paid for again there."""
        if is_copied(self._store):
            return []
        own = [head for head in self._store.held() if self.is_own(head)]
        return own if not self.leads else [*own, *self._left_to_nobody()]

    def _left_to_nobody(self) -> Iterator[Head]:
        cursor: str | None = None
        while True:
            page = self._store.runs(states=("waiting",), cursor=cursor, limit=_PAGE, children=True)
            yield from (head for head in page.heads if head["holder"] is None)
            if (cursor := page.next) is None:
                return

    def is_own(self, head: Head) -> bool:
        """True for a run that this node has."""
        holder = head["holder"]
        if holder is None:
            return False
        node = holder.get("node")  # a claim of the server's own says none
        return node == self._node or (node is None and is_reserved_here(holder))

    def is_elsewhere(self, head: Head) -> bool:
        """True for a run that another node has, or something that the reaper has to judge."""
        return head["holder"] is not None and not self.is_own(head)

    async def take(self, head: Head) -> Head | None:
        """See `RunShare`."""
        if self.is_own(head):
            if await self._to_thread(is_copied, self._store):
                return None
            if not await self._to_thread(self._is_misplaced, head):
                return head
            await self._to_thread(self._give_back, head)
            self.on_left(head)
            return None
        taken = await self.claim(head)
        if taken is None:
            self.on_left(head)
            return None
        return taken[0]

    def offer(self, head: Head) -> None:
        """See `RunShare`."""
        self.on_left(head)
        self.on_room()  # here too

    def warmed_up(self) -> None:
        """See `RunShare`."""
        self.warm.set()
        self.on_room()

    def has_room(self) -> None:
        """See `RunShare`."""
        self.on_room()

    # -- taking ---------------------------------------------------------------------------------

    def free(self) -> int:
        """How many more runs may be taken now, of the kind for which there is more room. None before a worker can be
        started, which takes seconds after the start: other nodes have room meanwhile."""
        return max(self._free(False), self._free(True))

    def has_room_for(self, head: Head) -> bool:
        """Whether the run may be taken now. Where its head does not say of which kind it is, its definition will, once
        it is taken: there has to be room for both."""
        return self._free(head.get("shareable")) > 0

    def _free(self, shareable: bool | None) -> int:
        if not self.takes or not self.warm.is_set():
            return 0
        supervisor, taking = self.supervisor, self._taking
        own = self._slots - supervisor.starts.busy() - len(supervisor.queue.own) - taking[False] - taking[None]
        if self._shared_slots is None or shareable is False:
            return own - (taking[True] if self._shared_slots is None else 0)
        shared = self._shared_slots - supervisor.starts.busy_shared() - len(supervisor.queue.shared)
        shared -= taking[True] + taking[None]
        return shared if shareable else min(own, shared)

    async def claim(self, head: Head) -> tuple[Head, RunDefinition] | None:
        """Take a run that nobody has: its head now, and its definition; None when there is no room, it is not for this
        node, or another was quicker. Raises StoreError."""
        if not self.has_room_for(head) or not self.may_fit(head["run"]):
            return None
        kind = head.get("shareable")
        self._taking[kind] += 1
        try:
            return await self._to_thread(self._claim, head)
        finally:
            self._taking[kind] -= 1

    async def take_up(self, head: Head) -> None:
        """Take a run that waits and have it worked off, when there is room and no other node is quicker. Raises
        StoreError."""
        if head["n"] > 1:
            await self.supervisor.attend(
                head["run"]
            )  # somebody asked for something since: a cancel, a decision
            return
        taken = await self.claim(head)
        if taken is not None:
            self.supervisor.submitted(*taken)

    def may_fit(self, run: str) -> bool:
        """False for a run of which is known that this node cannot work it off."""
        return self._unfit.get(run, 0.0) < time.monotonic()

    def _claim(self, head: Head) -> tuple[Head, RunDefinition] | None:
        run = head["run"]
        try:
            try:
                definition = RunDefinition.from_json(self._store.definition(run))
                reason = self.misfit(definition)
            except (KeyError, TypeError, ValueError, AttributeError) as error:  # of a newer version, or damaged
                reason = f"its definition cannot be read here: {error!r:.100}"
            if reason is not None:
                self._note_misfit(run, reason)
                return None
            if is_copied(self._store):
                return None
            lease = self._store.claim(run, self.me, expect=head["fence"])
        except (StaleFence, NotFound, CorruptRow):
            return None
        return {**head, "fence": lease.fence, "holder": self.me}, definition

    def _is_misplaced(self, head: Head) -> bool:
        """Whether it is only reserved, or its worker is gone, and this node takes no run like that any more, or not
        yet."""
        if not is_left(head["holder"]):
            return False
        if not self.takes or not self.warm.is_set():
            return True
        reason = self.misfit(RunDefinition.from_json(self._store.definition(head["run"])))
        if reason is not None:
            self._note_misfit(head["run"], reason)
        return reason is not None

    def _note_misfit(self, run: str, reason: str) -> None:
        log.info("a run is left to other nodes", run=run, reason=reason)
        moment = time.monotonic()
        # In the order of time: what is over lies at the beginning.
        while self._unfit and next(iter(self._unfit.values())) < moment:
            del self._unfit[next(iter(self._unfit))]
        self._unfit.pop(run, None)
        self._unfit[run] = moment + _UNFIT

    def misfit(self, definition: RunDefinition) -> str | None:
        """Why this node cannot work a run off; None when it can."""
        if definition.format > FORMAT:
            return f"it needs a newer po_jupyter (its format is {definition.format}, this one knows {FORMAT})"
        if missing := set(definition.options.labels) - self._labels:
            return f"it needs {', '.join(sorted(missing))}"
        interpreter = definition.interpreter
        if interpreter is not None and not os.access(interpreter, os.X_OK):
            return f"it needs the interpreter {interpreter}"
        directory = import_directory(definition)
        if directory is not None and not os.path.isdir(directory):
            return f"it needs the directory {directory}"
        return None

    def kinds(self) -> list[bool | None]:
        """The kinds of runs (`shareable`) for which there is room."""
        return [kind for kind in EVERY_KIND if self._free(kind) > 0]

    def window(self, free: int) -> int:
        """How many runs that wait to look at, for the next ones to be among them, and behind those that other nodes
        want and that this one cannot work off."""
        return min(
            _MOST, free * max(1, self._directory.workers()) + len(self._unfit) + len(self.supervisor.queue)
        )

    def candidates(self, heads: Iterable[Head], free: int) -> list[Head]:
        """The runs to try for next. Where several nodes take, each tries for others among the first of them, of one
        priority, so that they do not all want the same."""
        known = self.supervisor.has_run
        fits = [head for head in fair_order(heads) if self.may_fit(head["run"]) and not known(head["run"])]
        kinds = self.kinds()
        ordered = [head for head in fits if head.get("shareable") in kinds]
        window = ordered[: free * max(1, self._directory.workers())]
        if len(window) > free:
            window.sort(key=lambda head: (-head["priority"], random.random()))
        return window

    async def give_back(self) -> None:
        """Give the runs back that were taken and have no worker. Raises StoreError: those that are left stay in the
        queue, and no worker is started for them while this node takes none."""
        for run in self.supervisor.queue.positions(10_000):
            with suppress(NotFound, CorruptRow):
                await self._to_thread(self._give_back, await self._to_thread(self._store.head, run))
            self.supervisor.starts.discard(run)

    def _give_back(self, head: Head) -> None:
        run = head["run"]
        try:
            if is_left(head["holder"]) and self.is_own(head):
                lease = self._store.claim(run, self.me, expect=head["fence"])
                self._store.commit(lease, Commit(release=True))
        except (StaleFence, NotFound, CorruptRow):
            return
