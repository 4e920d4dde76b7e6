"""Backoff of runs that could not be written: a full or read-only disk, of the store or of a task, most of all.

It is nobody's crash, and nothing is lost: the run is tried again, with growing pauses, for as long as it takes. The
reason cannot be written into its log meanwhile, so people are told it from here; later the log says it too.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

FIRST, LONGEST = 0.5, 10.0  # s between two tries
_SAME = 60.0  # s after which a run that waits again waits for something new


@dataclass(slots=True)
class StoreWait:
    """The wait of one run. `trying`: a worker is on its way, or at work, and has not written anything yet."""

    reason: str
    hint: str
    since: float
    tries: int = 1
    trying: bool = False

    @property
    def seconds(self) -> float:
        """The length of the wait, in seconds."""
        return time.monotonic() - self.since

    def __str__(self) -> str:
        """The sentence that people read."""
        often = f" ({self.tries} tries in {self.seconds:.0f} s)" if self.tries > 1 else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"the run waits{often}: {self.reason}.{hint}"


class StoreBackoff:
    """The runs that wait for the store, and how long the next try of each is put off."""

    def __init__(self) -> None:
        """No run waits."""
        self._waits: dict[str, StoreWait] = {}
        self._over: dict[str, tuple[StoreWait, float]] = {}  # waits that ended a moment ago, and when

    def failed(self, run: str, reason: str, hint: str = "") -> float:
        """A try failed (again); seconds until the next one."""
        wait = self._waits.get(run) or self._ended_just_now(run)
        if wait is None:
            wait = self._waits[run] = StoreWait(reason, hint, time.monotonic())
        else:
            self._waits[run] = wait
            wait.reason, wait.hint = reason, hint
            wait.tries += 1
            wait.trying = False
        return min(LONGEST, FIRST * 2.0 ** min(wait.tries - 1, 10)) * random.uniform(0.8, 1.2)

    def get(self, run: str) -> StoreWait | None:
        """The wait of a run, if it waits."""
        return self._waits.get(run)

    def reason(self, run: str) -> str | None:
        """The reason why the run waits, for people; None when it does not, or a try is on its way."""
        wait = self._waits.get(run)
        return str(wait) if wait is not None and not wait.trying else None

    def reasons(self) -> dict[str, str]:
        """`reason` of every run that has one."""
        return {run: str(wait) for run, wait in self._waits.items() if not wait.trying}

    def clear(self, run: str) -> bool:
        """The run was written to, or is gone; True when it had been waiting."""
        wait = self._waits.pop(run, None)
        if wait is not None:
            self._over[run] = (wait, time.monotonic())
        return wait is not None

    def _ended_just_now(self, run: str) -> StoreWait | None:
        """The wait of a run whose store can be written, and whose task then met the full disk again."""
        now = time.monotonic()
        self._over = {name: over for name, over in self._over.items() if now - over[1] < _SAME}
        over = self._over.pop(run, None)
        return over[0] if over is not None else None
