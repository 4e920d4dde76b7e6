"""Commits to one run that are gathered for one transaction: what they are together, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.json_codec import JsonText, encode
from po_jupyter.store.protocol import CallDraft, Commit, Head, ItemDraft, Ref

LARGEST = 4 * 2**20  # bytes of payloads after which a transaction is closed
SMALLEST_SHARED = 256  # bytes; below that a second copy is cheaper than looking for the first


class CommitResult(NamedTuple):
    """The result of a commit: the run's head after its transaction, the number of the record that it is in, and the
    reference of each of its payloads (an equal one that was stored before is not stored again)."""

    head: Head
    n: int
    refs: tuple[Ref, ...]


E = TypeVar("E", bound=Mapping[str, Any])
Outcome: TypeAlias = "CommitResult | BaseException | None"


class GatheredCommits:
    """A transaction that is being gathered: several commits that are written as one."""

    def __init__(self, known: Mapping[bytes, Ref]) -> None:
        """Nothing yet; `known` are the places of payloads that the store has, by their digests."""
        self.known = known
        self.new: dict[bytes, int] = {}  # digests of payloads of this group → index
        self.events: list[EventDraft] = []
        self.items: list[ItemDraft] = []
        self.calls: list[CallDraft] = []
        self.payloads: list[JsonText] = []
        self.state: str | None = None
        self.is_full = False
        self.outcomes: list[Outcome] = []
        self.places: dict[int, list[int | Ref]] = {}  # of the commits that are in: where their payloads are
        self._bytes = 0
        self._release = False

    def add(self, commit: Commit) -> Exception | None:
        """Take it in, or answer why it cannot be."""
        count = len(self.payloads)
        try:
            texts = [encode(value) for value in commit.payloads]
            places = [self._place(text) for text in texts]
            # Copies before anything of it is in the group: an index out of range leaves the others alone.
            items = _moved(commit.items, "output", places)
            calls = _moved(commit.calls, "answer", places)
            events = _moved_events(commit.events, places)
        except Exception as error:
            self._undo(count)
            self.outcomes.append(error)
            return error
        self.items.extend(items)
        self.calls.extend(calls)
        self.events.extend(events)
        self.state = commit.state or self.state
        self.places[len(self.outcomes)] = places
        self.outcomes.append(None)
        self._release = commit.release
        self.is_full = commit.release or self._bytes > LARGEST
        return None

    def _place(self, text: JsonText) -> int | Ref:
        if len(text) >= SMALLEST_SHARED:
            digest = sha256(text).digest()
            place = self.known.get(digest, self.new.get(digest))
            if place is not None:
                return place
            self.new[digest] = len(self.payloads)
        self._bytes += len(text)
        self.payloads.append(text)
        return len(self.payloads) - 1

    def _undo(self, count: int) -> None:
        del self.payloads[count:]
        self.new = {digest: at for digest, at in self.new.items() if at < count}

    def merged(self) -> Commit:
        """The one commit that they all are."""
        return Commit(self.events, self.items, self.calls, self.payloads, self.state, self._release)

    def failed(self, error: BaseException) -> list[Outcome]:
        """The outcomes when it could not be written."""
        return [error if i in self.places else outcome for i, outcome in enumerate(self.outcomes)]

    def answered(self, head: Head) -> list[Outcome]:
        """The outcomes when it was, and the run's head after it."""
        n = head["n"]
        for i, places in self.places.items():
            refs = tuple(place if isinstance(place, Ref) else Ref(n, place) for place in places)
            self.outcomes[i] = CommitResult(head, n, refs)
        return self.outcomes


def _moved(entries: Iterable[E], field: str, places: Sequence[int | Ref]) -> list[E]:
    """`entries` with each index into the commit's own payloads replaced by the place of that payload."""
    moved: list[E] = []
    for entry in entries:
        at = entry.get(field)
        if type(at) is int:
            if not 0 <= at < len(places):
                raise InvalidInput(f"`{field}` points at payload {at}, but the commit carries {len(places)}")
            place = places[at]
            if place != at:
                entry = cast("E", {**entry, field: place})
        moved.append(entry)
    return moved


def _moved_events(events: Iterable[EventDraft], places: Sequence[int | Ref]) -> list[EventDraft]:
    moved: list[EventDraft] = []
    for event in events:
        if places and event["type"] == "task.done":
            event = {**event, "data": _moved([event["data"]], "output", places)[0]}
        moved.append(event)
    return moved
