"""A child run of a map that is at work, or whose outcomes are not all in the log of the map."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NamedTuple

from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.shards.child_run import child_run
from po_jupyter.engine.maps.shards.hold import ShardHold, Share
from po_jupyter.engine.maps.shards.pieces import ChildLog
from po_jupyter.engine.replay.history import History
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Head, Store

_LAST_EVENTS = 20  # among which is the end of a run


class ShardEnd(NamedTuple):
    """The end of a child run: its state, and its error if it has one."""

    state: str
    error: JsonObject | None


class OpenShard:
    """One child run, followed by the worker of its map.

    `is_void`: the map was started over since, so that its outcomes count no more, but what they cost does.
    """

    def __init__(self, state: MapState, record: ShardRecord) -> None:
        """The shard that the log has as `record`."""
        log = state.parts.log
        self.record = record
        self.run = record["run"]
        self.is_void = record["offset"] < log.state.tasks[state.task.name].cleared_at
        self.is_cancelled = False
        self.in_flight = 0
        self._state = state
        self._store: Store = log.store
        self._log = ChildLog(log.store, self.run, state.task.name, record["rows"], record["merged"])
        self._hold: ShardHold | None = None

    async def set_aside(self) -> None:
        """Set aside what is left of its share of the budget; without a share what it uses counts all the same."""
        guard = self._state.parts.calls.budget
        if guard is None or not guard.accounts_of(self._state.task.name):
            return
        if self.record["merged"] > 1:
            await asyncio.to_thread(self._log.read_again)
        self._hold = ShardHold(guard, self._state.task.name, self._share.amount.minus(self._log.spent))

    @property
    def _share(self) -> Share:
        usd, tokens = self.record.get("share") or (None, None)
        return Share(usd, None if tokens is None else int(tokens))

    @property
    def _is_new(self) -> bool:
        """Whether nothing of it is merged: only then it may be created."""
        return self._log.merged <= 1

    @property
    def keeps_budget(self) -> bool:
        """Whether it keeps the limits that there are now, which may be others than when it was planned."""
        return self._hold is None or self._hold.keeps(self._share)

    async def create(self, history: History) -> None:
        """Create the child run, unless it is there; have it worked off."""
        await asyncio.to_thread(self._create, history)
        crashpoint("shard.created.after")
        self._state.parts.on_child(self.run)

    def _create(self, history: History) -> None:
        with suppress(Conflict):  # an earlier worker did: the id is in the log of the map
            self._store.create_run(child_run(self._state, self.record, history))

    async def cancel(self) -> None:
        """Have the child run stop; what it finished is kept."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        await asyncio.to_thread(self._cancel)
        self._state.parts.on_child(self.run)

    def _cancel(self) -> None:
        try:
            head = self._store.head(self.run)
        except NotFound:
            if not self._is_new:
                return
            # Planned and not created: whoever is still about to create it finds it cancelled.
            self._create(self._state.parts.history)
            head = self._store.head(self.run)
        if head["state"] not in ENDED:
            self._store.request(self.run, [draft("run.cancel_requested", by=self._state.parts.log.run)])

    async def look(self) -> tuple[bool, ShardEnd | None]:
        """Merge what is new in its log: whether anything was, and its end once all of it is merged. Raises NotFound
        when there is no such run (yet), StoreError."""
        try:
            head = await asyncio.to_thread(self._store.head, self.run)
        except NotFound:
            if self._is_new:
                raise
            self.in_flight = 0
            return False, ShardEnd("cancelled", None)  # deleted: there is no more of it
        moved = False
        while (piece := await asyncio.to_thread(self._log.next_piece, head["n"])) is not None:
            moved = True
            if piece.in_flight is not None:
                self.in_flight = piece.in_flight
            self._state.merge(self.run, piece, outcomes=not self.is_void)
            if self._hold is not None:
                self._hold.use(piece.used)
            await self._state.flush()
            crashpoint("shard.merged.after")
        if head["state"] not in ENDED:
            return moved, None
        self.in_flight = 0
        return moved, ShardEnd(head["state"], await asyncio.to_thread(self._error, head))

    def _error(self, head: Head) -> JsonObject | None:
        events = self._store.events(self.run, since=max(0, head["offset"] - _LAST_EVENTS))
        ends = (e for e in reversed(events) if e["type"] == f"run.{head['state']}")
        return next((e["data"].get("error") for e in ends), None)

    async def close(self, end: ShardEnd) -> None:
        """Record that all of it is in the log of the map."""
        log = self._state.parts.log
        ended = draft("shard.ended", self._state.task.name, run=self.run, state=end.state)
        if end.error:
            ended["data"]["error"] = end.error
        log.commit_soon(ended)
        await log.flush()
        crashpoint("shard.ended.after")
        self.release()

    def release(self) -> None:
        """End the hold on the budget: it has ended, or is followed no more."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None
