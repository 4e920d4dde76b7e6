"""The queue of runs that wait for a worker: by priority (higher first), then by age."""

from __future__ import annotations

from typing import Protocol

from po_jupyter.store.protocol import Head


class RunQueue:
    """A small ordered set of runs. Positions start at 1."""

    def __init__(self) -> None:
        """An empty queue."""
        self._keys: dict[str, tuple[int, str, str]] = {}
        self._order: list[str] | None = []
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of runs that wait."""
        return len(self._keys)

    def __contains__(self, run: str) -> bool:
        """Does the run wait?"""
        return run in self._keys

    def add(self, head: Head) -> None:
        """Queue the run (once)."""
        self._keys[head["run"]] = (-head["priority"], head["created_at"], head["run"])
        self._order = None

    def discard(self, run: str) -> None:
        """Take the run out, if it is there."""
        if self._keys.pop(run, None) is not None:
            self._order = None

    def pop(self) -> str | None:
        """The next run, taken out."""
        order = self._sorted()
        if not order:
            return None
        run = order.pop(0)
        del self._keys[run]
        self._positions = {}
        return run

    def positions(self, limit: int) -> dict[str, int]:
        """The positions of the first `limit` runs."""
        return {run: position for position, run in enumerate(self._sorted()[:limit], 1)}

    def position(self, run: str) -> int | None:
        """The position of a queued run, 1 is next."""
        if run not in self._keys:
            return None
        if not self._positions or self._order is None:
            self._positions = {r: i for i, r in enumerate(self._sorted(), 1)}
        return self._positions[run]

    def _sorted(self) -> list[str]:
        if self._order is None:
            self._order = sorted(self._keys, key=self._keys.__getitem__)
            self._positions = {}
        return self._order


class RunShare(Protocol):
    """Which runs a supervisor looks after, where several machines share a store. Without one it is all of them."""

    def active(self) -> list[Head]:
        """The runs that have not ended and are looked after here. Blocks."""
        ...

    def is_elsewhere(self, head: Head) -> bool:
        """True for a run that another machine has: nothing is done about it here."""
        ...

    async def take(self, head: Head) -> bool:
        """Take a run that waits for a worker; False when another machine got it, or there is no room here: it stays
        in the store for whoever has."""
        ...

    def has_room(self) -> None:
        """Called when another worker could be started and no run waits here."""
