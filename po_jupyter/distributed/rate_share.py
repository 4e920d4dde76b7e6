"""The part of the settings' rate limits that one of several nodes may use.

Nodes that ask for calls to limited models share each limit equally. They say so in their documents, and whoever comes
anew waits until the others have seen it and what they used before does not count any more. So all of them together
stay under the limit at every moment, whatever they see late.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple, TypeAlias

Standing: TypeAlias = Literal["", "asks", "uses"]
_NEVER = float("-inf")


class Part(NamedTuple):
    """Part number `rank` of `of` equal ones; of 0: none yet. What does not divide goes to the first ranks."""

    rank: int
    of: int


NONE, WHOLE = Part(0, 0), Part(0, 1)


class RateShare:
    """Decides the part of one node. `standing` is what its document says."""

    def __init__(
        self, node: str, window: float, term: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`window` is that of the limits, in seconds; within `term` each node sees what another one says."""
        self._node = node
        self._term = term
        self._memory = window + term
        self._clock = clock
        self._wanted = self._used = self._accompanied = _NEVER
        self._began: float | None = None
        self._counts: deque[tuple[float, int]] = deque()
        self.standing: Standing = ""

    def update(self, *, wants: bool, asking: Collection[str], using: Collection[str], company: bool) -> Part:
        """The part from now on.

        `wants`: calls wait here. `asking` and `using` name the other nodes that say so; `company`: other nodes work.
        """
        moment = self._clock()
        if wants:
            self._wanted = moment
        if using:
            self._used = moment
        if company:
            self._accompanied = moment
        if moment - self._wanted > self._memory:  # so long what it used counts
            self.standing, self._began = "", None
            return NONE
        if self._began is None:
            self._began = moment
            self._counts.clear()
        names = {self._node, *asking, *using}
        self._counts.append((moment, len(names)))
        while self._counts[0][0] < moment - self._memory:
            self._counts.popleft()
        if self.standing != "uses":
            self.standing = "uses" if moment - self._began >= self._wait(moment) else "asks"
        if self.standing == "asks":
            return NONE
        most = max(count for _, count in self._counts)
        # While what one that has left used still counts, what does not divide is nobody's.
        return Part(sorted(names).index(self._node) if most == len(names) else most, most)

    def _wait(self, moment: float) -> float:
        if moment - self._used <= self._memory:
            return self._memory
        return self._term if moment - self._accompanied <= self._memory else 0.0
