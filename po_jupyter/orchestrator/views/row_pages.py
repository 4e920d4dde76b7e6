"""Pages of a map's rows: an index of where each outcome is in the log, kept for the maps read last and caught up.

A frame of 50,000 rows is fetched page by page, and a live view again and again: neither reads the whole log anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Any

from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.row_labels import LabelledRow, add_scores, add_votes
from po_jupyter.store.protocol import Head, ItemRecord, LogStore, Ref

_KEPT = 16  # runs


class RowOutcome(LabelledRow):
    """The newest outcome of one row. `reused`: it was taken from an earlier run."""

    ok: bool
    output: Any
    error: JsonObject | None
    usage: JsonObject | None
    reused: bool


class RowPages:
    """Reads rows. Blocks on the store: call it in a thread. Safe for several threads."""

    def __init__(self, store: LogStore) -> None:
        """Nothing is read yet."""
        self._store = store
        self._lock = Lock()
        self._runs: OrderedDict[str, _RowIndex] = OrderedDict()

    def _index(self, run: str) -> _RowIndex:
        with self._lock:
            index = self._runs.setdefault(run, _RowIndex())
            self._runs.move_to_end(run)
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)
            return index

    def forget(self, run: str) -> None:
        """Drop what is indexed of a run that is gone."""
        with self._lock:
            self._runs.pop(run, None)

    def table(self, head: Head, task: str) -> RowTable:
        """Outcomes of a map up to (at least) `head`, without those that a restart made void."""
        index = self._index(head["run"])
        with index.lock:
            index.catch_up(self._store, head)
            return index.tables.get(task) or RowTable()

    def page(
        self, head: Head, task: str, state: int | None, start: int, limit: int | None
    ) -> tuple[list[RowOutcome], int | None]:
        """Rows from index `start`, at most `limit`, and the index that the next page starts with."""
        run = head["run"]
        table = self.table(head, task)
        places: list[tuple[int, int]] = []
        for index in table.indexes(state, start):
            if limit is not None and len(places) == limit:
                return list(self._read(run, task, places)), index
            places.append((index, table.record_number(index)))
        return list(self._read(run, task, places)), None

    def _read(self, run: str, task: str, places: list[tuple[int, int]]) -> Iterable[RowOutcome]:
        record_of = dict(places)
        items: dict[int, ItemRecord] = {}
        for n in sorted(set(record_of.values())):
            for record in self._store.records(run, after=n - 1, limit=1):
                for item in record["items"]:
                    if item["task"] == task and record_of.get(item["index"]) == n:
                        items[item["index"]] = item
        for index, _ in places:
            item = items[index]
            output = item.get("output")
            outcome: RowOutcome = {
                "index": index,
                "ok": bool(item["ok"]),
                "output": None if output is None else self._store.payload(run, Ref(*output)),
                "error": item.get("error"),
                "usage": item.get("usage"),
                "reused": "reused" in item,
            }
            if "row" in item:
                outcome["row"] = item["row"]
            add_votes(outcome, item)
            add_scores(outcome, item)
            yield outcome


class _RowIndex:
    """The maps of one run, up to record `n`."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.n = 0
        self.tables: dict[str, RowTable] = {}

    def catch_up(self, store: LogStore, head: Head) -> None:
        """Take in what was written since."""
        for record in store.records(head["run"], after=self.n) if head["n"] > self.n else ():
            for event in record["events"]:
                if event["type"] == "run.resumed":
                    for name in event["data"].get("clear", ()):
                        self.tables.pop(name, None)
            for item in record["items"]:
                self.tables.setdefault(item["task"], RowTable()).apply(item, record["n"])
            self.n = record["n"]
