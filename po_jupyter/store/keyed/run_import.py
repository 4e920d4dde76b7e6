"""A run that comes from another store: its rows as they are there, checked and written here, whole or not at all.

As in a copy of a store (`copying`) a run is here once its head is, which comes last. Unlike there, who sends the rows
is not trusted: each is checked to be what a store writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, cast

from po_jupyter.errors import Conflict, CorruptRow, InvalidInput, NotFound
from po_jupyter.model.run.events import EventDraft, NumberedEvent
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.json_codec import JsonText, Unreadable, checked_foreign
from po_jupyter.store.keyed import payloads, run_index, run_log
from po_jupyter.store.keyed.copying import stored_rows
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.protocol import Commit, Head

_LISTS = ("events", "items", "calls")
_RECORD, _PAYLOADS = "c", "p"  # kinds of rows
_BYTES = 8 * 2**20  # of rows that are written in one transaction


class RunRow(NamedTuple):
    """A record of a run (kind `c`) or its payloads (kind `p`): the number of the record and the JSON."""

    kind: str
    n: int
    text: bytes


def rows_of(store: KeyedStore, run: str, last: int) -> Iterator[RunRow]:
    """The rows of a run up to record `last`: each record, then its payloads where it has some. NotFound."""
    for page in stored_rows(store, run, last):
        for key, text in page:
            kind, _, n = key.split("/")
            yield RunRow(kind, int(n), text)


class RunImport:
    """A run on its way into a store. Not for two threads at once."""

    def __init__(self, store: KeyedStore, run: str) -> None:
        """Removes what an interrupted one left. Raises Conflict when the store has the run."""
        self._store, self._run = store, run
        self.n = self.offset = 0
        self._waiting: list[tuple[str, bytes]] = []
        self._bytes = 0
        try:
            store.head(run)
        except NotFound:
            store._run(run, lambda shard: shard.erase_records(run, None), write=True)
            return
        raise Conflict(f"there is a run {run} here already")

    def add(self, row: RunRow) -> list[NumberedEvent]:
        """Take the next row; the events of a record, with their offsets. Raises InvalidInput."""
        events: list[NumberedEvent] = []
        if type(row.n) is not int:
            raise InvalidInput(f"{row.n!r:.40} is no number of a row")
        if row.kind == _RECORD and row.n == self.n + 1:
            events = _events(row, self.offset + 1)
            self.n, self.offset = row.n, self.offset + len(events)
        elif row.kind == _PAYLOADS and row.n == self.n and row.n:
            _check_payloads(row)
        else:
            raise InvalidInput(f"row {row.kind}/{row.n} of the run does not follow {self.n}")
        self._waiting.append((run_log.key_of(row.kind, self._run, row.n), row.text))
        self._bytes += len(row.text)
        if self._bytes > _BYTES:
            self._write()
        return events

    def _write(self) -> None:
        texts, self._waiting, self._bytes = self._waiting, [], 0
        self._store._run(self._run, partial(_write_all, texts=texts), write=True)

    def finish(self, head: Head, definition: Mapping[str, Any], events: Sequence[EventDraft]) -> Head:
        """Have the run in the store, with one more record of `events`; `n` and `offset` of the head are counted here.
        Raises InvalidInput when the head says another number of records."""
        if not self.n or (head["n"], head["offset"]) != (self.n, self.offset):
            raise InvalidInput("the run is not whole: records are missing at its end")
        self._write()

        def work(shard: Shard) -> Head:
            if shard.read(f"head/{self._run}") is not None:
                raise Conflict(f"there is a run {self._run} here already")
            shard.write(f"def/{self._run}", {"definition": dict(definition), "idempotency": None})
            run_index.add(shard, self._run)
            run_index.set_active(shard, self._run, head["state"] not in ENDED)
            return run_log.append(shard, head, Commit(events=events))

        return self._store._run(self._run, work, write=True)

    def abort(self) -> bool:
        """Remove what was written; False, and nothing, once the run is here."""
        self._waiting = []

        def work(shard: Shard) -> bool:
            if shard.read(f"head/{self._run}") is not None:
                return False
            shard.erase_records(self._run, None)
            return True

        return self._store._run(self._run, work, write=True)


def is_moment(value: object) -> bool:
    """Whether a value is a moment as the store writes them, ISO 8601 with its offset from UTC."""
    try:
        return isinstance(value, str) and len(value) < 40 and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _write_all(shard: Shard, *, texts: list[tuple[str, bytes]]) -> None:
    for key, text in texts:
        shard.write(key, JsonText(text))


def _events(row: RunRow, first: int) -> list[NumberedEvent]:
    """The events of a record whose first one has that offset. Raises InvalidInput."""
    record = _checked(row)
    lists = [record.get(name, []) for name in _LISTS] if isinstance(record, dict) else [None]
    are_objects = all(isinstance(each, list) and all(isinstance(one, dict) for one in each) for each in lists)
    if (
        not are_objects
        or record.keys() - {"at", "fence", "first", *_LISTS}
        or type(record.get("fence")) is not int
        or record.get("first") != first
        or not is_moment(record.get("at"))
        or not all(_is_event(event) for event in record.get("events", ()))
    ):
        raise InvalidInput(f"record {row.n} of the run is none that a store writes")
    numbered = [{**event, "offset": offset} for offset, event in enumerate(record.get("events", ()), first)]
    return cast("list[NumberedEvent]", numbered)


def _is_event(event: JsonObject) -> bool:
    return (
        isinstance(event.get("type"), str)
        and is_moment(event.get("at"))
        and isinstance(event.get("data"), dict)
        and isinstance(event.get("task", ""), str)
        and type(event.get("item", 0)) is int
        and "offset" not in event
    )


def _check_payloads(row: RunRow) -> None:
    _checked(row)
    try:
        payloads.split(row.text).all()
    except CorruptRow as error:
        raise InvalidInput(f"the payloads of record {row.n} cannot be read: {error.message}") from None


def _checked(row: RunRow) -> Any:
    try:
        return checked_foreign(row.text)
    except Unreadable as error:
        raise InvalidInput(f"row {row.kind}/{row.n} of the run {error}") from None
