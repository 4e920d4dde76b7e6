"""Runs that wait because the store could not be written for them: a full or read-only disk, most of all.

Nobody's crash, and nothing is lost: the run is tried again, with growing pauses, for as long as it takes. Why it
waits cannot be written into its log meanwhile, so people are told from here; once it can be, the log says so too.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

FIRST, LONGEST = 0.5, 10.0  # s between two tries


@dataclass(slots=True)
class Held:
    """Why a run waits. `trying`: a worker is on its way, or at work, and has not written anything yet."""

    reason: str
    hint: str
    since: float
    tries: int = 1
    trying: bool = False

    @property
    def seconds(self) -> float:
        """How long it waits."""
        return time.monotonic() - self.since

    def __str__(self) -> str:
        often = f" ({self.tries} tries in {self.seconds:.0f} s)" if self.tries > 1 else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"the run waits, it cannot be written to the store{often}: {self.reason}.{hint}"


class HeldRuns:
    """Which runs wait for the store, and for how long the next try is put off."""

    def __init__(self) -> None:
        self._runs: dict[str, Held] = {}

    def failed(self, run: str, reason: str, hint: str = "") -> float:
        """It failed (again); seconds until the next try."""
        held = self._runs.get(run)
        if held is None:
            held = self._runs[run] = Held(reason, hint, time.monotonic())
        else:
            held.reason, held.hint = reason, hint
            held.tries += 1
            held.trying = False
        return min(LONGEST, FIRST * 2.0 ** min(held.tries - 1, 10)) * random.uniform(0.8, 1.2)

    def get(self, run: str) -> Held | None:
        """Why it waits, if it does."""
        return self._runs.get(run)

    def over(self, run: str) -> bool:
        """It was written to, or left: whether it had been waiting."""
        return self._runs.pop(run, None) is not None

    def words(self) -> dict[str, str]:
        """What people are told, by run."""
        return {run: str(held) for run, held in self._runs.items() if not held.trying}
