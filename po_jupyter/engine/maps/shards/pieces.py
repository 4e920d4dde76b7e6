"""Pieces of a child run's log, as they are copied into the log of its map. Blocks on the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from po_jupyter.engine.maps.piece import Piece
from po_jupyter.engine.replay.spent_from_log import ZERO, Amount, SpentFromLog
from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.protocol import CallDraft, CallRecord, ItemDraft, ItemRecord, LogStore, Record, Ref

_MOST = 500  # outcomes and calls of one piece, unless a single record has more
_MOST_CHARACTERS = 4_000_000  # of its payloads, as JSON
_COPIED = frozenset({"item.failed", "call.unknown", "call.withdrawn"})


class MergedLog:
    """The log of a child run, read on from where the log of its parent has it, and what its calls used."""

    def __init__(self, store: LogStore, run: str, merged: int) -> None:
        """`merged` is the number of the last record that the parent has."""
        self._store = store
        self._run = run
        self._spent = SpentFromLog()
        self.merged = merged

    @property
    def spent(self) -> Amount:
        """What its calls used, as far as it was read."""
        total = ZERO
        for amount in self._spent.of_tasks().values():
            total = total.plus(amount)
        return total

    def read_again(self) -> None:
        """Count what its calls used that was merged before."""
        for record in self._store.records(self._run, limit=self.merged):
            self._spent.apply(record)

    def _read_on(self, last: int) -> Iterator[Record]:
        """The records that follow, up to `last`, each counted as merged when it is taken."""
        for record in self._store.records(self._run, after=self.merged, limit=last - self.merged):
            self._spent.apply(record)
            self.merged = record["n"]
            yield record


class ChildLog(MergedLog):
    """The log of a child run that works on rows of a map."""

    def __init__(self, store: LogStore, run: str, task: str, rows: str, merged: int) -> None:
        """`rows`, as spans, are those that it works on."""
        super().__init__(store, run, merged)
        self._task = task
        self._rows = rows

    def next_piece(self, last: int) -> Piece | None:
        """The next piece, of records up to `last`; None when there is no further record."""
        if self.merged >= last:
            return None
        before = self.spent
        copying = RecordCopy(self._store, self._run)
        in_flight: int | None = None
        for record in self._read_on(last):
            copying.add(record, self._task, self._rows)
            for event in record["events"]:
                if event["type"] == "map.progress":
                    in_flight = event["data"]["in_flight"]
            if copying.is_full:
                break
        return Piece(
            self.merged, tuple(copying.items), tuple(copying.calls), tuple(copying.payloads), tuple(copying.events),
            self.spent.change_since(before), in_flight,
        )  # fmt: skip


class RecordCopy:
    """Drafts of what records say, and the payloads of these drafts, each once."""

    def __init__(self, store: LogStore, run: str) -> None:
        """Of records of `run`; nothing is copied yet."""
        self._store = store
        self._run = run
        self._places: dict[tuple[int, int], int] = {}
        self._values: tuple[int, list[Any]] = (0, [])  # those of the record that was read last
        self.items: list[ItemDraft] = []
        self.calls: list[CallDraft] = []
        self.payloads: list[Any] = []
        self.events: list[EventDraft] = []
        self._characters = 0

    @property
    def is_full(self) -> bool:
        """Whether the piece ends here. After a report of lost calls it does: in a record calls come before events, so
        one that is made again afterwards would be reported, too."""
        return (
            len(self.items) + len(self.calls) >= _MOST
            or self._characters >= _MOST_CHARACTERS
            or any(event["type"] == "call.unknown" for event in self.events)
        )

    def add(self, record: Record, task: str, rows: str) -> None:
        """Copy what a record says of the rows of a map."""
        self.calls += map(self.call, record["calls"])
        self.items += map(self._item, record["items"])
        self.events += _events(record, task, rows)

    def _item(self, item: ItemRecord) -> ItemDraft:
        copied = {name: value for name, value in item.items() if name not in ("output", "row")}
        if (output := item.get("output")) is not None:
            copied["output"] = self._place(Ref(*output))
        return cast("ItemDraft", copied)

    def call(self, call: CallRecord) -> CallDraft:
        """The draft of a call, with its answer among the payloads."""
        copied: dict[str, Any] = {**call, "shard": True}
        if call["kind"] == "response" and (answer := call.get("answer")) is not None:
            copied["answer"] = self._place(Ref(*answer))
        return cast("CallDraft", copied)

    def _place(self, ref: Ref) -> int:
        """The index of a payload of the child among those of the piece."""
        key = (ref[0], ref[1])
        if key not in self._places:
            self._places[key] = len(self.payloads)
            value = self._value(ref)
            self._characters += len(value) if isinstance(value, str) else len(json.dumps(value))
            self.payloads.append(value)
        return self._places[key]

    def _value(self, ref: Ref) -> Any:
        if self._values[0] != ref[0]:
            self._values = ref[0], self._store.payloads(self._run, ref[0])
        return self._values[1][ref[1]]


def _events(record: Record, task: str, rows: str) -> Iterator[EventDraft]:
    for event in record["events"]:
        if event["type"] not in _COPIED or event.get("task") != task:
            continue
        if event.get("item") is None and event["data"].get("covers") == "all":
            # Of all rows of the child; of the map they are some.
            yield {**event, "data": {**event["data"], "rows": rows}}
        else:
            yield event
