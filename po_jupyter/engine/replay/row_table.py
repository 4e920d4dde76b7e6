"""A table of the outcomes of a map's rows: the place of each in the log, in thirteen bytes; values are read on use.

A map of 50,000 rows is 50,000 places and no value in memory. A worker fills its table as its commits become durable,
a reader from the records of the log; both then read a row with one access to the store.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.lazy_list import LazyList
from po_jupyter.store.protocol import ItemRecord, LogStore, Ref

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import RowsAgain

DONE, FAILED = 1, 2
_RECORDS = 4  # records of failed rows kept while rows are read in order


class StoredOutcome(NamedTuple):
    """The outcome of a row. `output` is a payload reference; a failed row has an `error` instead."""

    ok: bool
    output: Sequence[int] | None
    error: JsonObject | None


class RowTable(Mapping[int, StoredOutcome]):
    """Outcomes by row index, in columns of numbers.

    Errors are kept only where `set` gets one; `MapOutput` reads the others from their record.
    """

    __slots__ = ("_at", "_n", "_ref", "_state", "done", "errors", "failed")

    def __init__(self) -> None:
        """A table without outcomes."""
        self._state = bytearray()
        self._n = array("I")
        self._ref = array("I")
        self._at = array("i")  # of the payload; -1: none that is known
        self.errors: dict[int, JsonObject] = {}
        self.done = 0
        self.failed = 0

    def set(
        self,
        index: int,
        ok: bool,
        output: Sequence[int] | None = None,
        error: JsonObject | None = None,
        *,
        n: int = 0,
    ) -> None:
        """Replace the outcome of a row. `n` is the number of its record, 0 while that is not durable."""
        if index >= len(self._state):
            self._grow(index + 1)
        self._count(self._state[index], -1)
        self._state[index] = DONE if ok else FAILED
        self._count(self._state[index], 1)
        self._n[index] = n
        self._ref[index], self._at[index] = output if output is not None else (0, -1)
        if error is not None:
            self.errors[index] = error
        else:
            self.errors.pop(index, None)

    def _grow(self, size: int) -> None:
        more = max(size, 2 * len(self._state), 64) - len(self._state)
        self._state.extend(bytes(more))
        for column, empty in ((self._n, 0), (self._ref, 0), (self._at, -1)):
            column.extend(array(column.typecode, [empty]) * more)

    def _count(self, state: int, by: int) -> None:
        if state == DONE:
            self.done += by
        elif state == FAILED:
            self.failed += by

    def apply(self, item: ItemRecord, n: int) -> None:
        """Set the outcome of a row to that of an item of record `n`."""
        self.set(item["index"], bool(item["ok"]), item.get("output"), item.get("error"), n=n)

    def drop(self, indexes: Iterable[int]) -> list[int]:
        """Remove the outcomes of these rows: they are asked for again. Those that had one."""
        dropped = [index for index in indexes if index in self]
        for index in dropped:
            self._count(self._state[index], -1)
            self._state[index] = 0
            self.errors.pop(index, None)
        return dropped

    def reopen(self, again: RowsAgain | None) -> list[int]:
        """Remove the outcomes of the rows that a resume names; of all that failed when it names none. Those rows."""
        return self.drop(self.indexes(FAILED) if again is None else parse_spans(again["rows"]))

    def record_number(self, index: int) -> int:
        """The number of the record with the outcome, 0 on its way to the disk."""
        return self._n[index]

    def indexes(self, state: int | None = None, start: int = 0) -> Iterator[int]:
        """Indexes of rows with an outcome (or with that one), from `start`, in order."""
        for index in range(start, len(self._state)):
            now = self._state[index]
            if now and (state is None or now == state):
                yield index

    def __getitem__(self, index: int) -> StoredOutcome:
        """The outcome of a row. Raises KeyError."""
        state = self._state[index] if 0 <= index < len(self._state) else 0
        if not state:
            raise KeyError(index)
        output = (self._ref[index], self._at[index]) if self._at[index] >= 0 else None
        return StoredOutcome(state == DONE, output, self.errors.get(index))

    def __contains__(self, index: object) -> bool:
        """Whether the row has an outcome."""
        return isinstance(index, int) and 0 <= index < len(self._state) and self._state[index] != 0

    def __iter__(self) -> Iterator[int]:
        """Indexes of rows with an outcome, in order."""
        return self.indexes()

    def __len__(self) -> int:
        """The number of rows with an outcome."""
        return self.done + self.failed


class MapOutput(LazyList):
    """The output of a map: `{index, ok, output, error}` for each row in order, each read when it is used.

    Reading blocks on the store.
    """

    def __init__(
        self, store: LogStore, run: str, task: str, table: RowTable, total: int, variants: Sequence[str] = ()
    ) -> None:
        """The output of map `task` of a run, with `total` rows whose outcomes are in `table`. With `variants` they are
        those of each in turn, and say so."""
        self._variants = tuple(variants)
        self._store = store
        self._run = run
        self._task = task
        self._table = table
        self._total = total
        self._errors: OrderedDict[int, dict[int, Any]] = OrderedDict()

    def __len__(self) -> int:
        """The number of rows, those without an outcome included."""
        return self._total

    def __repr__(self) -> str:
        """A short text; no row is read for it."""
        return f"<{self._total} rows of {self._task!r}>"

    def read(self, index: int) -> JsonObject:
        """One row; without an outcome it is neither ok nor has an error."""
        if count := len(self._variants):
            return {**self._read(index), "variant": self._variants[index % count], "row": index // count}
        return self._read(index)

    def _read(self, index: int) -> JsonObject:
        row = self._table.get(index)
        if row is None:
            return {"index": index, "ok": False, "output": None, "error": None}
        output = self._store.payload(self._run, Ref(*row.output)) if row.output is not None else None
        error = row.error if row.ok or row.error is not None else self._error(index)
        return {"index": index, "ok": row.ok, "output": output, "error": error}

    def _error(self, index: int) -> Any:
        n = self._table.record_number(index)
        if n not in self._errors:
            record = next(iter(self._store.records(self._run, after=n - 1, limit=1)), None)
            items = record["items"] if record is not None else []
            self._errors[n] = {i["index"]: i.get("error") for i in items if i["task"] == self._task}
            if len(self._errors) > _RECORDS:
                self._errors.popitem(last=False)
        return self._errors[n].get(index)
