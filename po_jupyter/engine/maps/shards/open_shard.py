"""A child run of a map that is at work, or whose outcomes are not all in the log of the map."""

from __future__ import annotations

from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.piece import Piece
from po_jupyter.engine.maps.shards.child_run import child_run
from po_jupyter.engine.maps.shards.open_child import OpenChild
from po_jupyter.engine.maps.shards.pieces import ChildLog
from po_jupyter.engine.replay.history import History
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.store.protocol import NewRun


class OpenShard(OpenChild[Piece]):
    """One child run of a map. `in_flight` are its rows at work."""

    def __init__(self, state: MapState, record: ShardRecord) -> None:
        """The shard that the log has as `record`."""
        task, store = state.task.name, state.parts.log.store
        reader = ChildLog(store, record["run"], task, record["rows"], record["merged"])
        super().__init__(state.parts, task, record, reader)
        self.in_flight = 0
        self._state = state
        self._history = state.parts.history

    async def create(self, history: History) -> None:
        """Create the child run, unless it is there; have it worked off. `history` is that of the map's log as it is
        now."""
        self._history = history
        await self.set_going()

    def _new_run(self) -> NewRun:
        return child_run(self._state, self.record, self._history)

    async def _merge(self, piece: Piece) -> None:
        if piece.in_flight is not None:
            self.in_flight = piece.in_flight
        self._state.merge(self.run, piece, outcomes=not self.is_void)
