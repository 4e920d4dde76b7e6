"""What a queue of runs is, whatever broker is behind it.

A message is a hint and nothing else. It may be lost, come late, twice or out of order: the run is in the store, the
claim there under a fence decides who works on it, and a run that nobody hears of is published again. So a consumer
answers as soon as the claim is decided, seconds after it got the message and never after the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

PRIORITIES = range(10)
USUAL_PRIORITY = 4  # of a run for which nobody asked for another one


class RunMessage(NamedTuple):
    """The hint that a run waits for a node.

    run        its id
    priority   0 to 9, 9 first, on every broker (SQS knows three steps: 0-2, 3-6, 7-9)
    labels     what a node must have, each of letters, digits and `_.:-`: "gpu", "interpreter:NAME"; () = any node
    """

    run: str
    priority: int = 0
    labels: tuple[str, ...] = ()


class Verdict(Enum):
    """What a consumer says of a message."""

    TAKEN = "taken"  # it is dealt with: claimed here, claimed elsewhere, or nothing to do
    BACK = "back"  # not here, not now: another node may have it, soon, after those that wait already
    POISON = "poison"  # nobody should have it again: to the dead letters


Take: TypeAlias = Callable[[RunMessage], Verdict]


class Closer(Protocol):
    """What ends something that was started."""

    def close(self) -> None:
        """End it. Blocks until it has ended; a second time it does nothing."""


class MessageQueue(Protocol):
    """A queue of runs on one broker. Every method may be called in any thread; those that speak to the broker block."""

    def publish(self, message: RunMessage) -> None:
        """Queue it; when this returns the broker has it.

        Raises BrokerUnavailable within seconds (the run is in the store and is published again later), and ValueError
        for a message that cannot be one.
        """

    def consume(self, take: Take, *, labels: Sequence[str] = (), threads: int = 1) -> Closer:
        """Have `take` called for each message that needs no label but these, in `threads` threads of the queue's own.

        At least once: a message whose consumer died before its verdict comes again. `take` may block for seconds; its
        thread has no other message meanwhile. If it raises, the message goes back. What is no RunMessage is
        dead-lettered and never comes to `take`. Returns at once, broker or not: while there is none, it is looked for
        again and again. Closing it takes no further message, waits for the calls of `take`, and answers their messages.
        """

    def depths(self) -> Mapping[str, int] | None:
        """How many messages wait, by the name of the queue; None if the broker cannot say.

        Without those that a consumer has, of the labels that this process has published or consumes. The dead letters
        are the name that ends with ".dead". Raises BrokerUnavailable.
        """

    def ping(self) -> None:
        """Return if the broker answers. Raises BrokerUnavailable within seconds."""

    def close(self) -> None:
        """End all consumers and connections. A second time it does nothing."""
