"""The calls that wait for a provider's limits, and the turns of their runs."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeAlias

_CREDIT = 0.25  # of a window's limit, that a run may be behind the others
Flow: TypeAlias = tuple[str, str]  # (run, model)


@dataclass(slots=True)
class QueuedCall:
    """A call that waits, since `since`. `input` is the estimate of its prompt, `max_output` the bound of its answer."""

    run: str
    id: int
    model: str
    input: int
    max_output: int | None
    since: float
    cancelled: bool = False


@dataclass(slots=True)
class ProviderQueue:
    """The queues of one provider's models: they share its limits, so their runs take turns together."""

    flows: dict[Flow, deque[QueuedCall]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)  # that wait or are in flight, by run
    served: dict[str, float] = field(default_factory=dict)  # of limits, in shares, by run with such calls

    def add(self, run: str) -> None:
        """Count a call. A run that comes anew starts level with the others; one whose calls were all in flight
        keeps its arrears, but not for ever."""
        if not self.calls[run] or not any(flow[0] == run for flow in self.flows):
            least = min((served for other, served in self.served.items() if other != run), default=0.0)
            self.served[run] = max(self.served[run], least - _CREDIT) if self.calls[run] else least
        self.calls[run] += 1

    def remove(self, run: str) -> None:
        """Count a call that neither waits nor is in flight any more."""
        self.calls[run] -= 1
        if self.calls[run] <= 0:
            del self.calls[run]
            self.served.pop(run, None)
