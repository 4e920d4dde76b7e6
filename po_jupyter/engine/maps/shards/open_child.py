"""A child run that is at work, or whose log is not all in that of its parent: of a map, or of a task's pipeline."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Generic, NamedTuple, Protocol, TypeVar

from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.shards.hold import ShardHold, Share
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Head, NewRun, Store

_LAST_EVENTS = 20  # among which is the end of a run


class UsedPiece(Protocol):
    """Records of a child run; `used` is what its calls used more than before."""

    @property
    def used(self) -> Amount:
        """The change of the amount that counts against budgets."""


Piece_co = TypeVar("Piece_co", bound=UsedPiece, covariant=True)
AnyPiece = TypeVar("AnyPiece", bound=UsedPiece)


class ChildReader(Protocol[Piece_co]):
    """The log of a child run, read on from where the log of its parent has it (`merged`)."""

    merged: int

    @property
    def spent(self) -> Amount:
        """What its calls used, as far as it was read."""

    def read_again(self) -> None:
        """Count what its calls used that was merged before. Blocks."""

    def next_piece(self, last: int) -> Piece_co | None:
        """The next piece, of records up to `last`; None when there is no further record. Blocks."""


class ChildEnd(NamedTuple):
    """The end of a child run: its state, its error if it has one, and the rows that failed in its own maps."""

    state: str
    error: JsonObject | None
    failed_rows: int = 0


class OpenChild(ABC, Generic[AnyPiece]):
    """One child run, followed by the worker of its parent.

    `is_void`: the task was started over since, so that its outcomes count no more, but what they cost does.
    """

    points = "shard"  # the names of its crash points begin with that

    def __init__(self, parts: MapParts, task: str, record: ShardRecord, reader: ChildReader[AnyPiece]) -> None:
        """The child run of `task` that the log has as `record`."""
        self.record = record
        self.run = record["run"]
        self.is_void = record["offset"] < parts.log.state.tasks[task].cleared_at
        self.is_cancelled = False
        self._parts = parts
        self._task = task
        self._reader = reader
        self._store: Store = parts.log.store
        self._hold: ShardHold | None = None

    @abstractmethod
    def _new_run(self) -> NewRun:
        """The child run as it is created. Blocks."""

    @abstractmethod
    async def _merge(self, piece: AnyPiece) -> None:
        """Commit a piece to the log of the parent."""

    # -- budget ---------------------------------------------------------------------------------
    async def set_aside(self) -> None:
        """Set aside what is left of its share of the budget; without a share what it uses counts all the same."""
        guard = self._parts.calls.budget
        if guard is None or not guard.accounts_of(self._task):
            return
        if self.record["merged"] > 1:
            await asyncio.to_thread(self._reader.read_again)
        self._hold = ShardHold(guard, self._task, self._share.amount.minus(self._reader.spent))

    @property
    def _share(self) -> Share:
        usd, tokens = self.record.get("share") or (None, None)
        return Share(usd, None if tokens is None else int(tokens))

    @property
    def keeps_budget(self) -> bool:
        """Whether it keeps the limits that there are now, which may be others than when it was planned."""
        return self._hold is None or self._hold.keeps(self._share)

    def release(self) -> None:
        """End the hold on the budget: it has ended, or is followed no more."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    # -- the run --------------------------------------------------------------------------------
    @property
    def _is_new(self) -> bool:
        """Whether nothing of it is merged: only then it may be created."""
        return self._reader.merged <= 1

    async def set_going(self) -> None:
        """Create the child run, unless it is there; have it worked off."""
        await asyncio.to_thread(self._create)
        crashpoint(f"{self.points}.created.after")
        self._parts.on_child(self.run)

    def _create(self) -> None:
        with suppress(Conflict):  # an earlier worker did: the id is in the log of the parent
            self._store.create_run(self._new_run())

    async def cancel(self) -> None:
        """Have the child run stop; what it finished is kept."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        await asyncio.to_thread(self._cancel)
        self._parts.on_child(self.run)

    def _cancel(self) -> None:
        try:
            head = self._store.head(self.run)
        except NotFound:
            if not self._is_new:
                return
            # Planned and not created: whoever is still about to create it finds it cancelled.
            self._create()
            head = self._store.head(self.run)
        if head["state"] not in ENDED:
            self._store.request(self.run, [draft("run.cancel_requested", by=self._parts.log.run)])

    async def look(self) -> tuple[bool, ChildEnd | None]:
        """Merge what is new in its log: whether anything was, and its end once all of it is merged. Raises NotFound
        when there is no such run (yet), StoreError."""
        try:
            head = await asyncio.to_thread(self._store.head, self.run)
        except NotFound:
            if self._is_new:
                raise
            return False, ChildEnd("cancelled", None)  # deleted: there is no more of it
        moved = False
        while (piece := await asyncio.to_thread(self._reader.next_piece, head["n"])) is not None:
            moved = True
            await self._merge(piece)
            if self._hold is not None:
                self._hold.use(piece.used)
            await self._parts.log.flush()
            crashpoint(f"{self.points}.merged.after")
        if head["state"] not in ENDED:
            await self._note(head, moved)
            return moved, None
        return moved, await asyncio.to_thread(self._end_of, head)

    async def _note(self, head: Head, moved: bool) -> None:
        """Look at a child run that is at work; `moved`: there was something new in its log."""

    def _end_of(self, head: Head) -> ChildEnd:
        """The end of the child run. Blocks."""
        events = self._store.events(self.run, since=max(0, head["offset"] - _LAST_EVENTS))
        ends = (e for e in reversed(events) if e["type"] == f"run.{head['state']}")
        return ChildEnd(head["state"], next((e["data"].get("error") for e in ends), None))

    async def close(self, end: ChildEnd) -> None:
        """Record that all of it is in the log of the parent."""
        log = self._parts.log
        ended = draft("shard.ended", self._task, run=self.run, state=end.state)
        if end.error:
            ended["data"]["error"] = end.error
        if end.failed_rows:
            ended["data"]["failed_rows"] = end.failed_rows
        log.commit_soon(ended)
        await log.flush()
        crashpoint(f"{self.points}.ended.after")
        self.release()
