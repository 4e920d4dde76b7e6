"""What becomes of a call that wants to be sent: it is admitted, or there is a reason why it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from po_jupyter.llm.rate_limits.sliding_window import Cost


class Block(NamedTuple):
    """The reason why a call cannot be sent now; at `until` it is worth another look."""

    until: float
    reason: str
    key: str


@dataclass(slots=True)
class Ticket:
    """A call that was admitted, at `at`. `tests`: the guesses that it breaks; `judged`: it is known to be taken;
    `in_flight`: calls at that time, itself among them."""

    run: str
    id: int
    model: str
    cost: Cost
    at: float
    tests: tuple[str, ...] = ()
    judged: bool = False
    in_flight: int = 0


def span(window: float) -> str:
    """A window for people: `per minute`."""
    return "per minute" if window == 60 else f"per {window:g} s"
