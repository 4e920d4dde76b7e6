"""The queue before the limits: round-robin over users, so that one user's thousand calls do not stop another's two."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from po_jupyter.hub.accounts.balances import ALL, Admitted, Waiting

Waiter = TypeVar("Waiter")
_Lane = tuple[str, str]  # user and provider: a call waits behind others of both only


class FairQueue(Generic[Waiter]):
    """Calls that wait, in a lane for each user and provider. The lanes take turns."""

    def __init__(self) -> None:
        """Empty."""
        self._lanes: dict[_Lane, deque[Waiter]] = {}
        self._turns: deque[_Lane] = deque()
        self._by_user: dict[str, int] = {}
        self._size = 0

    def __len__(self) -> int:
        """The calls that wait."""
        return self._size

    def of_user(self, user: str) -> int:
        """The calls of a user that wait."""
        return self._by_user.get(user, 0)

    def push(self, user: str, provider: str, waiter: Waiter) -> None:
        """Let a call wait behind its user's others."""
        lane = (user, provider)
        if lane not in self._lanes:
            self._lanes[lane] = deque()
            self._turns.append(lane)
        self._lanes[lane].append(waiter)
        self._by_user[user] = self._by_user.get(user, 0) + 1
        self._size += 1

    def discard(self, user: str, provider: str, waiter: Waiter) -> None:
        """Forget a call that waits no longer."""
        waiters = self._lanes.get((user, provider))
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self._forget((user, provider))

    def admit(self, attempt: Callable[[Waiter], Admitted | Waiting | None]) -> float | None:
        """Try the first call of each lane in turn, again and again until none gets in.

        `attempt` says what became of a call: Admitted and None (it was answered otherwise) take it out of the queue.
        Returns the seconds until it is worth trying again without a call having ended; None: it is not.
        """
        soonest: float | None = None
        blocked: set[str] = set()  # providers whose limit is reached
        idle = 0
        while self._turns and idle < len(self._turns):
            lane = self._turns[0]
            self._turns.rotate(-1)
            if lane[1] in blocked:
                idle += 1
                continue
            verdict = attempt(self._lanes[lane][0])
            if not isinstance(verdict, Waiting):
                self._lanes[lane].popleft()
                self._forget(lane)
                idle = 0
                continue
            idle += 1
            if verdict.seconds is not None:
                soonest = verdict.seconds if soonest is None else min(soonest, verdict.seconds)
            if verdict.scope == ALL:
                break
            if verdict.scope == f"provider:{lane[1]}":
                blocked.add(lane[1])
        return soonest

    def _forget(self, lane: _Lane) -> None:
        user = lane[0]
        self._size -= 1
        self._by_user[user] -= 1
        if not self._by_user[user]:
            del self._by_user[user]
        if not self._lanes[lane]:
            del self._lanes[lane]
            self._turns.remove(lane)
