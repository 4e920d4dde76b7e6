"""Which rows a batch has, and what each of its requests is called. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.engine.replay.spent_from_log import Amount

if TYPE_CHECKING:
    from po_jupyter.engine.budgets.guard import BatchHold

_STAGES = {"inference": "i", "critique": "c"}
_LETTERS = {letter: stage for stage, letter in _STAGES.items()}
_ID = re.compile(r"(po[0-9a-f]{16})-(\d{1,9})-(\d{1,9})-(\d{1,4})([ic])\Z")


class Place(NamedTuple):
    """What a request was about."""

    row: int
    attempt: int
    stage: str
    round: int


def custom_id(token: str, place: Place) -> str:
    """The name of a request: token, row, attempt, round and stage. At most 64 of `[A-Za-z0-9_-]`, as Anthropic asks."""
    return f"{token}-{place.row}-{place.attempt}-{place.round}{_STAGES[place.stage]}"


def place_of(token: str, given: str) -> Place | None:
    """What `custom_id` named; None for a name that is none of this batch's."""
    found = _ID.match(given)
    if found is None or found[1] != token:
        return None
    return Place(int(found[2]), int(found[3]), _LETTERS[found[5]], int(found[4]))


def spans(indexes: Iterable[int]) -> str:
    """Ascending row numbers in few characters: `0-99,105`."""
    parts: list[str] = []
    first = last = -2
    for index in indexes:
        if index == last + 1:
            last = index
            continue
        if last >= 0:
            parts.append(f"{first}-{last}" if last > first else f"{first}")
        first = last = index
    if last >= 0:
        parts.append(f"{first}-{last}" if last > first else f"{first}")
    return ",".join(parts)


def of_spans(text: str) -> Iterator[int]:
    """The row numbers that `spans` wrote."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@dataclass(slots=True, eq=False)
class Open:
    """A batch that is at its provider, or perhaps is.

    id          None while it is not known that the provider has it
    attempt     of the calls of its rows
    rows        in the order of the file
    hold        what is set aside for it
    prepared    when it was about to be sent, in seconds since 1970
    cancelling  its end is wanted, so what was not answered stays open; `asked`: the provider was told
    landed      rows that were looked at in its results
    silent      the last look at it was not answered
    seen        (finished, total), as the provider said last
    """

    token: str
    attempt: int
    rows: tuple[int, ...]
    prepared: float
    reserved: Amount
    id: str | None = None
    hold: BatchHold | None = None
    cancelling: bool = False
    asked: bool = False
    landed: int = 0
    silent: bool = False
    seen: tuple[int, int] = (0, 0)
    members: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.members = frozenset(self.rows)

    @property
    def part(self) -> Amount:
        """What is set aside for one of its rows."""
        return self.reserved.parts(1, len(self.rows))


def opened(said: Mapping[str, Any], at: float) -> Open:
    """A batch as the log has it (`TaskState.batches`), prepared at `at`."""
    return Open(
        token=said["token"],
        attempt=said["attempt"],
        rows=tuple(of_spans(said["rows"])),
        prepared=at,
        reserved=Amount(*said.get("reserved") or ()),
        id=said.get("id"),
        cancelling=bool(said.get("cancelling")),
    )
