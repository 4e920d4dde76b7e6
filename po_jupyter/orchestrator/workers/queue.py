"""The queues of runs that wait for a worker: by priority (higher first), then by age or by turns of their owners."""

from __future__ import annotations

from typing import Protocol

from po_jupyter.store.protocol import Head


class RunQueue:
    """A small ordered set of runs. Positions start at 1.

    With `fair`, runs of one priority go by turns of their owners: somebody's thousand runs do not make another one's
    first run wait for all of them.
    """

    def __init__(self, *, fair: bool = False) -> None:
        """An empty queue."""
        self._fair = fair
        self._turns: dict[str, int] = {}  # of the last run of each owner that waits, or did since `_turn`
        self._turn = 0  # of the run that left last
        self._keys: dict[str, tuple[int, int, str, str]] = {}
        self._order: list[str] | None = []  # the next one last
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of runs that wait."""
        return len(self._keys)

    def __contains__(self, run: str) -> bool:
        """Does the run wait?"""
        return run in self._keys

    def add(self, head: Head) -> None:
        """Queue the run (once)."""
        if head["run"] in self._keys:
            self.discard(head["run"])
        turn = self._next_turn(head["owner"]) if self._fair else 0
        self._keys[head["run"]] = (-head["priority"], turn, head["created_at"], head["run"])
        self._order = None

    def _next_turn(self, owner: str) -> int:
        if not self._keys:
            self._turns.clear()
            self._turn = 0
        turn = self._turns[owner] = max(self._turn, self._turns.get(owner, 0)) + 1
        return turn

    def discard(self, run: str) -> None:
        """Take the run out, if it is there."""
        if self._keys.pop(run, None) is not None:
            self._order = None

    def pop(self) -> str | None:
        """The next run, taken out."""
        order = self._sorted()
        if not order:
            return None
        run = order.pop()
        self._turn = max(self._turn, self._keys.pop(run)[1])
        self._positions = {}
        return run

    def positions(self, limit: int) -> dict[str, int]:
        """The positions of the first `limit` runs."""
        order = self._sorted()
        return {run: position for position, run in enumerate(reversed(order[-limit:]), 1)}

    def position(self, run: str) -> int | None:
        """The position of a queued run, 1 is next."""
        if run not in self._keys:
            return None
        if not self._positions or self._order is None:
            self._positions = {r: i for i, r in enumerate(reversed(self._sorted()), 1)}
        return self._positions[run]

    def _sorted(self) -> list[str]:
        if self._order is None:
            self._order = sorted(self._keys, key=self._keys.__getitem__, reverse=True)
            self._positions = {}
        return self._order


class RunQueues:
    """The runs that wait for a process of their own, and those that wait for room in one of many runs."""

    def __init__(self) -> None:
        """Nobody waits."""
        self.own = RunQueue()
        self.shared = RunQueue(fair=True)

    def __len__(self) -> int:
        """The number of runs that wait."""
        return len(self.own) + len(self.shared)

    def __contains__(self, run: str) -> bool:
        """Does the run wait?"""
        return run in self.own or run in self.shared

    def add(self, head: Head, *, shared: bool) -> None:
        """Queue the run in one of the two."""
        (self.own if shared else self.shared).discard(head["run"])
        (self.shared if shared else self.own).add(head)

    def discard(self, run: str) -> None:
        """Take the run out, if it is there."""
        self.own.discard(run)
        self.shared.discard(run)

    def position(self, run: str) -> int | None:
        """The position of a run in its queue, 1 is next."""
        return self.own.position(run) or self.shared.position(run)

    def positions(self, limit: int) -> dict[str, int]:
        """The positions of the first runs of each queue."""
        return {**self.own.positions(limit), **self.shared.positions(limit)}


class RunShare(Protocol):
    """Which runs a supervisor looks after, where several machines share a store. Without one it is all of them."""

    def active(self) -> list[Head]:
        """The runs that have not ended and are looked after here. Blocks."""
        ...

    def is_elsewhere(self, head: Head) -> bool:
        """True for a run that another machine has: nothing is done about it here."""
        ...

    async def take(self, head: Head) -> Head | None:
        """Take a run that waits for a worker: its head now, with the fence that its worker is to expect. None when
        another machine got it, or there is no room here: it stays in the store for whoever has."""
        ...

    def offer(self, head: Head) -> None:
        """Let a run wait for whichever machine has room, this one or another."""
        ...

    def warmed_up(self) -> None:
        """Called once workers can be started without a wait of seconds, or will not be."""
        ...

    def has_room(self) -> None:
        """Called when another worker could be started and no run waits here."""
