"""The tables of a run: rows, calls, course and cost, made in one pass over its log and kept for the runs read last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from po_jupyter.errors import CorruptRow, RateLimited
from po_jupyter.model.run.names import short_id
from po_jupyter.orchestrator.threads import RETRY_AFTER
from po_jupyter.orchestrator.views.inspection.call_table import CallTable
from po_jupyter.orchestrator.views.inspection.row_columns import MapColumns
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from po_jupyter.orchestrator.views.inspection.row_query import FoundRows, RowQuery
from po_jupyter.orchestrator.views.inspection.spending import Spending
from po_jupyter.orchestrator.views.inspection.timeline import Timeline
from po_jupyter.store.protocol import Head, LogStore, Record

_NOTES = 20
_PATIENCE = 10.0  # s that a thread waits for the tables of a run
_KEPT = 8  # runs; one of 100,000 rows and calls takes some 10 MB


class RunTables:
    """The tables of one run, up to record `n`.

    `found` are the rows that were found up to there, by what was looked for; `searches` those of searches that have not
    read all rows yet, `orders` the outputs by row that sorting has read so far, by map, and `contents` what rows are
    compared by, as far as that was read. `notes` say which records
    of the log cannot be read.
    """

    def __init__(self) -> None:
        """Nothing is read."""
        self.lock = Lock()
        self.n = 0
        self.maps = MapColumns()
        self.calls = CallTable()
        self.timeline = Timeline()
        self.spending = Spending()
        self.notes: list[str] = []
        self.found: OrderedDict[RowQuery, FoundRows] = OrderedDict()
        self.searches: OrderedDict[RowQuery, FoundRows] = OrderedDict()
        self.orders: dict[str, dict[int, tuple[int, float, str]]] = {}
        self.contents: dict[str, list[RowContent]] = {}

    def catch_up(self, store: LogStore, head: Head) -> None:
        """Take in what was written since."""
        if head["n"] > self.n:
            for kept in (self.found, self.searches, self.orders, self.contents):
                kept.clear()
            try:
                for record in store.records(head["run"], after=self.n):
                    self._apply(record)
            except CorruptRow:
                self._pass_over(store, head)

    def _pass_over(self, store: LogStore, head: Head) -> None:
        """Take in the records that can be read, one by one; `notes` says which cannot."""
        for n in range(self.n + 1, head["n"] + 1):
            try:
                for record in store.records(head["run"], after=n - 1, limit=1):
                    self._apply(record)
            except CorruptRow as error:
                self._note(error.message)
            self.n = n

    def _apply(self, record: Record) -> None:
        """Take in one record; what makes no sense in it is a note, for the other records do."""
        for part in (
            self._apply_events, self._apply_calls, self._apply_items, self.calls.apply, self.timeline.apply,
            self.spending.apply,
        ):  # fmt: skip
            try:
                part(record)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                self._note(f"record {record['n']} is not understood ({type(error).__name__}: {error!s:.200})")
        self.n = record["n"]

    def _apply_events(self, record: Record) -> None:
        for event in record["events"]:
            self.maps.apply_event(event)

    def _apply_calls(self, record: Record) -> None:
        self.maps.apply((), record["calls"], record["n"])

    def _apply_items(self, record: Record) -> None:
        self.maps.apply(record["items"], (), record["n"])

    def _note(self, text: str) -> None:
        if len(self.notes) < _NOTES and text not in self.notes:
            self.notes.append(text)


class TableCache:
    """The tables of the runs read last. Blocks on the store: call it in a thread. Safe for several threads."""

    def __init__(self, store: LogStore) -> None:
        """Nothing is read yet."""
        self._store = store
        self._lock = Lock()
        self._runs: OrderedDict[str, RunTables] = OrderedDict()

    @contextmanager
    def of(self, head: Head) -> Iterator[RunTables]:
        """The tables of a run up to (at least) `head`, nobody else's meanwhile. Raises RateLimited when others have
        them for too long: a thread that waits is one less for all."""
        run = head["run"]
        with self._lock:
            tables = self._runs.setdefault(run, RunTables())
            self._runs.move_to_end(run)
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)
        if not tables.lock.acquire(timeout=_PATIENCE):
            raise RateLimited(
                f"run {short_id(run)} is being read for others since more than {_PATIENCE:g} s",
                hint="Try again in a moment.",
                details={"retry_after": RETRY_AFTER},
            )
        try:
            tables.catch_up(self._store, head)
            yield tables
        finally:
            tables.lock.release()
